"""Sources of bundles: frozen models as people have them, read, written as bundles and compared with themselves."""

from triggers.sources.bundle_writer import read_source, write_bundle
from triggers.sources.source import Source, WrapOptions

__all__ = ["Source", "WrapOptions", "read_source", "write_bundle"]
