"""The configuration in a report reproduces the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.trainer.outcomes import image_config, text_config
from trainer.config.run_config import BaseConfig, load_config, to_dict
from trainer.config.toml_schema import to_toml


def test_a_configuration_comes_back_from_its_text(tmp_path: Path) -> None:
    kwargs: dict[str, str | int | float | bool] = {"num_classes": 2, "name": 'a "b"', "on": True}
    base = BaseConfig(("no", "yes"), pos_label=0, builder="resnet18", builder_kwargs=kwargs)
    text = text_config(tmp_path)
    values: dict[str, Any] = {
        "group_map": {"b": "x", "*": 'a "b"'},
        "label_map": {text.data.label[0]: {"1": "yes", "0": "no"}},
        "label_bins": 0.5,
    }
    mapped = replace(text, data=replace(text.data, **values))
    for config in (replace(image_config(tmp_path), base=base), text, mapped):
        path = tmp_path / "run.toml"
        path.write_text(to_toml(to_dict(config)))
        assert load_config(path) == config
