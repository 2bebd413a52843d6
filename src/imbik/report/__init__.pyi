from .plot import ticks_linear as ticks_linear
from .render import write_report as write_report
