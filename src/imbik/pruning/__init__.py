"""Structured pruning: which heads, units and layers a task misses least, cutting them away, and repairing what is left."""
