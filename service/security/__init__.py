"""API keys, roles, and the table of the role that each route needs."""

from service.security.keyring import Keyring
from service.security.permissions import RequiredRole, required_role, table_role

__all__ = ["Keyring", "RequiredRole", "required_role", "table_role"]
