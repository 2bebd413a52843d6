"""Compiled loops of the recommenders."""
