"""Checkpoint -> ``model.npz``: the arrays that NumPy computes a student without layers from."""
