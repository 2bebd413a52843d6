"""What training does with images alone."""
