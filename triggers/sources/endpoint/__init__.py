"""Models behind an address as sources: what its server says of them, what was stated, and how answers are read."""

from triggers.sources.endpoint.endpoint_source import PREFIXES, read_endpoint

__all__ = ["PREFIXES", "read_endpoint"]
