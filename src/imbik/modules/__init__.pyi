from .compress import CompressedModule as CompressedModule
from .compress import compress_module as compress_module
from .export.artefact import ExportedModule as ExportedModule
from .export.artefact import export_module as export_module
from .step import StepReport as StepReport
