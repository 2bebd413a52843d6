"""Files, folders and hub data sets read into splits."""
