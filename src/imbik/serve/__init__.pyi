from .app import build_app as build_app
from .server import serve as serve
from .settings import Limits as Limits
from .settings import Served as Served
from .settings import Settings as Settings
