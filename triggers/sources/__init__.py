"""Sources of bundles: frozen models as people have them, read, written as bundles and compared with themselves."""

from triggers.sources.bundle_writer import read_source, write_source_bundle
from triggers.sources.source import ModelSource, WrapOptions

__all__ = ["ModelSource", "WrapOptions", "read_source", "write_source_bundle"]
