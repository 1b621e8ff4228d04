"""Layouts of data on disk: CelebA, UTKFace, Civil Comments, CSV, `datasets` folders."""
