"""Shapes of students and how they start from their teacher."""
