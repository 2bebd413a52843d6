from .measurement import Measurement as Measurement
from .process import Candidate as Candidate
from .results import load_results as load_results
from .results import write_results as write_results
from .run import measure as measure
from .values import Choice as Choice
from .values import Limits as Limits
from .values import Results as Results
