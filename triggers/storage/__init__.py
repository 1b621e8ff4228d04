"""Access to files, SQLite and Redis, shared by all stores."""

from triggers.storage.atomic_files import write_atomically
from triggers.storage.secret_file import read_secret
from triggers.storage.sqlite_file import SqliteFile
from triggers.storage.url_utils import without_password

__all__ = ["SqliteFile", "read_secret", "without_password", "write_atomically"]
