"""One file per format of a table: text, CSV, JSON, Parquet."""
