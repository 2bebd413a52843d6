from .options import Found as Found
from .options import SearchOptions as SearchOptions
from .run import search as search
from .supernet import Supernet as Supernet
