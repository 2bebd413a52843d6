"""A checkpoint made into an artefact that runs without PyTorch."""
