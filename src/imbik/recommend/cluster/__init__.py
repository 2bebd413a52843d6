"""Fits past one machine: users in blocks on workers, items and hyperparameters where the fit was asked for."""
