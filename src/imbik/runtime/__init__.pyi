from .manifest import read_artefact as read_artefact
from .manifest import verify as verify
from .modules import ModuleArtefact as ModuleArtefact
from .modules import load_module as load_module
from .predictor import Predictor as Predictor
from .predictor import load_artefact as load_artefact
