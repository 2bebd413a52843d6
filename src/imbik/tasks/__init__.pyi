from .metrics import score as score
