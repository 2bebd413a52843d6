"""The conformance suite of methods, for this repository and for others."""
