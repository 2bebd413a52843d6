from .manifest import read_artefact as read_artefact
from .manifest import verify as verify
from .predictor import Predictor as Predictor
from .predictor import load_artefact as load_artefact
