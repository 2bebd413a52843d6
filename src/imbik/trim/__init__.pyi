from .result import HeldBack as HeldBack
from .result import Trimmed as Trimmed
from .run import trim as trim
