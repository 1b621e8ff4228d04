"""The lab of candidate trigger kinds: `python -m benchmarks.candidates --help`."""
