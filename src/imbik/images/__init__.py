"""Images: bytes to pixels, pixels to what a network reads, and columns of them. NumPy and Pillow, never PyTorch."""
