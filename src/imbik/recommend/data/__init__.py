"""Ratings: reading, indexing, splitting."""
