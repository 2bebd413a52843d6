"""Models that NumPy alone computes: one file for each kind, found by listing this folder."""
