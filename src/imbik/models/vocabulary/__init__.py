"""A smaller vocabulary: which pieces stay, and the rows of a model's tables that go with the others."""
