from .options import Limits as Limits
from .options import Options as Options
from .run import compress as compress
