from .advice import advise as advise
from .scenario import load_scenario as load_scenario
from .verdict import Verdict as Verdict
