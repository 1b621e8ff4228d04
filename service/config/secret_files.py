"""The settings source of secret files: FAIRTRIGGER_ADMIN_TOKEN_FILE=/run/secrets/admin_token, as in containers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from triggers.errors import ConfigError
from triggers.storage import read_secret

SUFFIX = "_FILE"


class SecretFiles(PydanticBaseSettingsSource):
    """Contents of the files that the environment names, stripped of white space.

    `names` are the fields that may come from a file. Raises ConfigError if a file cannot be read or is empty, or if the
    environment holds the value as well.
    """

    def __init__(self, settings: type[BaseSettings], names: tuple[str, ...]) -> None:
        super().__init__(settings)
        self._names, self._prefix = names, str(settings.model_config.get("env_prefix", ""))

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the file of one field, or None if it has none."""
        variable = f"{self._prefix}{field_name}".upper()
        path = os.environ.get(variable + SUFFIX) if field_name in self._names else None
        if not path:
            return None, field_name, False
        if variable in os.environ:
            raise ConfigError(f"Both {variable} and {variable}{SUFFIX} are set: keep one.")
        return read_secret(Path(path), variable + SUFFIX), field_name, False

    def __call__(self) -> dict[str, Any]:
        """All values found, by field."""
        fields = self.settings_cls.model_fields
        found = {name: self.get_field_value(fields[name], name)[0] for name in self._names}
        return {name: value for name, value in found.items() if value is not None}
