"""Tables of inputs: CSV, JSON lines, Parquet, `datasets` folders, paths of files, and the rows out of them."""
