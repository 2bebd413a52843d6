from .compress import CompressedModule as CompressedModule
from .compress import compress_module as compress_module
from .step import StepReport as StepReport
