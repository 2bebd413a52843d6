from .process import Candidate as Candidate
from .results import Results as Results
from .results import load_results as load_results
from .results import write_results as write_results
from .run import measure as measure
