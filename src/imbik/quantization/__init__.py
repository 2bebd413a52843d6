"""Integer arithmetic, observed ranges and simulated quantization."""
