"""What label cells mean: numbers or classes, several labels in one cell."""
