"""The whole story on the bundled bank messages."""
