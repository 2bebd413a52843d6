from .advice import advise as advise
from .scenario import Scenario as Scenario
from .scenario import load_scenario as load_scenario
from .verdict import Advice as Advice
from .verdict import Verdict as Verdict
