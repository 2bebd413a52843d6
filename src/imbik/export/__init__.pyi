from .artefact import export as export
