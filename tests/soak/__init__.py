"""Loads and faults for minutes, not part of `make test`: `make soak`."""
