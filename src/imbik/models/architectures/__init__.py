"""Architectures of imbik's own, for students that transformers has no model for: one file each, found by listing this folder."""
