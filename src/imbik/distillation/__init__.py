"""How a student learns from its teacher: soft labels, inner states, made texts."""
