"""Sentence encoders: a Transformer whose states are pooled into one vector a text, as folders of sentence-transformers say it."""
