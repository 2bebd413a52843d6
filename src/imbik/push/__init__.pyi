from .card import About as About
from .run import lay_out as lay_out
from .run import push as push
