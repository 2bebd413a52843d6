from .cost import Cost as Cost
from .cost import Load as Load
from .cost import roi as roi
from .prices import Prices as Prices
from .prices import load_prices as load_prices
from .prices import shipped_prices as shipped_prices
