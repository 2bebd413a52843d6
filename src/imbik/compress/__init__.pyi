from .options import Limits as Limits
from .options import Options as Options
from .run import apply_recipe as apply_recipe
from .run import compress as compress
