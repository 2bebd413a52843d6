"""The report: a page, a table, a plot."""
