"""Commands that read what was measured: the report, the cost, the published architectures."""
