from .run import Limits as Limits
from .run import compress as compress
