"""Settings from the environment and the command line."""

from service.config.cli import read_settings, set_up_logging, validation_messages
from service.config.settings import ADMIN_SETUP_HINT, ALL_DEVICES, Settings

__all__ = ["ADMIN_SETUP_HINT", "ALL_DEVICES", "Settings", "read_settings", "set_up_logging", "validation_messages"]
