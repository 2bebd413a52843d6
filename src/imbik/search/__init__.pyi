from .run import Found as Found
from .run import SearchOptions as SearchOptions
from .run import search as search
from .supernet import Supernet as Supernet
