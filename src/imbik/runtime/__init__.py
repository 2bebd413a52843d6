"""What runs an artefact: NumPy, ``tokenizers`` and one engine."""
