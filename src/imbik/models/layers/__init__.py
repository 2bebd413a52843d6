"""Layers that compressed models are made of, one file per kind."""
