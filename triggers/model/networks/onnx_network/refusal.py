"""The reason why a graph cannot be run exactly."""

from __future__ import annotations


class Unsupported(Exception):
    """A node or a graph that cannot be run exactly; the text says why, without naming the file."""
