"""API keys, roles, and the table of who may do what."""

from service.security.keyring import Keyring
from service.security.permissions import Needed, listed, needed

__all__ = ["Keyring", "Needed", "listed", "needed"]
