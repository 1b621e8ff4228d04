"""Layouts of data on disk: CelebA, UTKFace, Civil Comments, and tables: CSV, JSONL, Parquet, `datasets`, paths."""
