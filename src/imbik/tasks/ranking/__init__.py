"""Rankings of documents by vectors: what answers a query, and how a ranking is scored."""
