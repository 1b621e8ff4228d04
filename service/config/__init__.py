"""Settings from the environment and the command line."""

from service.config.cli import read_settings, readable, set_up_logging
from service.config.settings import ALL_DEVICES, HOW_TO_OPEN, Settings

__all__ = ["ALL_DEVICES", "HOW_TO_OPEN", "Settings", "read_settings", "readable", "set_up_logging"]
