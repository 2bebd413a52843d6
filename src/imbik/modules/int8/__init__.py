"""Layers that compute on the grids of int8, and a graph of them."""
