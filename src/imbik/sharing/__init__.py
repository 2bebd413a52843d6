"""Weights that several places use: ALBERT layers, codebooks."""
