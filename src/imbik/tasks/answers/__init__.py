"""Answers as rows and columns of tables."""
