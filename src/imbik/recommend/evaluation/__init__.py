"""Measures, comparisons and pictures of recommenders."""
