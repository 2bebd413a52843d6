"""A teacher from a pretrained encoder."""
