from .metrics import Metric as Metric
from .registry import register as register
from .registry import registered as registered
from .registry import score as score
from .registry import task_of as task_of
from .task import Task as Task
