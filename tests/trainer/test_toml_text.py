"""The configuration in a report reproduces the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.trainer.outcomes import image_config, text_config
from trainer.config import BaseConfig, load_config, to_dict
from trainer.tables import to_toml


def test_a_configuration_comes_back_from_its_text(tmp_path: Path) -> None:
    kwargs: dict[str, str | int | float | bool] = {"num_classes": 2, "name": 'a "b"', "on": True}
    base = BaseConfig(("no", "yes"), pos_label=0, builder="resnet18", builder_kwargs=kwargs)
    for config in (replace(image_config(tmp_path), base=base), text_config(tmp_path)):
        path = tmp_path / "run.toml"
        path.write_text(to_toml(to_dict(config)))
        assert load_config(path) == config
