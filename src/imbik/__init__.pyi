from .data import load_data as load_data
from .distillation import AttentionKL as AttentionKL
from .distillation import AttentionMSE as AttentionMSE
from .distillation import FeatureMoments as FeatureMoments
from .distillation import HiddenCosine as HiddenCosine
from .distillation import HiddenMSE as HiddenMSE
from .distillation import LogitsKL as LogitsKL
from .distillation import RelationKL as RelationKL
from .distillation import TrustedBoxes as TrustedBoxes
from .distillation import distill as distill
from .errors import UserError as UserError
from .models import load_checkpoint as load_checkpoint
from .models import save_checkpoint as save_checkpoint
from .modules import CompressedModule as CompressedModule
from .modules import compress_module as compress_module
from .modules import export_module as export_module
from .modules import measure_module as measure_module
from .recipes import load_recipe as load_recipe
from .report import write_report as write_report
from .runtime import load_artefact as load_artefact
from .runtime import load_module as load_module

__version__: str
