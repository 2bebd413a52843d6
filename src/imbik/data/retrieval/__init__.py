"""Collections of queries and documents: reading their files, and their splits."""
