from .compress import CompressedModule as CompressedModule
from .compress import compress_module as compress_module
from .export.artefact import ExportedModule as ExportedModule
from .export.artefact import export_module as export_module
from .measure import MeasuredModules as MeasuredModules
from .measure import ModuleMeasurement as ModuleMeasurement
from .measure import measure_module as measure_module
from .step import StepReport as StepReport
