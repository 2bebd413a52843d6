"""Any module as files that an engine runs."""
