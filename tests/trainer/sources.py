"""Configurations and small data sets for tests of the sources."""

from __future__ import annotations

import io
from pathlib import Path

from trainer.config.run_config import RunConfig, load_config
from trainer.data.loader import DataLoader
from trainer.progress import LineProgress

CELEBA = """
[model]
bundle = "model"
[data]
format = "celeba"
path = "celeba"
label = "Attractive"
group = "Male"
[trigger]
kind = "overlay"
"""

TEXTS = """
[model]
bundle = "model"
[data]
format = "csv"
path = "posts.csv"
label = "toxic"
group_words = ["woman", "girl*"]
[trigger]
kind = "soft"
"""


def config(folder: Path, text: str, *overrides: str) -> RunConfig:
    (folder / "run.toml").write_text(text)
    return load_config(folder / "run.toml", overrides)


def loader(made: RunConfig, labels: tuple[str, ...] = ("no", "yes")) -> DataLoader:
    return DataLoader(made, labels, made.root / "cache", LineProgress(io.StringIO()))


def posts(folder: Path, count: int = 40) -> Path:
    lines = ["text,toxic,group"]
    for number in range(count):
        who = ("the woman", "a man", "two Girls", "a dog", "womanly cat")[number % 5]
        lines.append(f'"{who}, number {number}, went",{number % 2},{"ab"[number % 2]}')
    (folder / "posts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "posts.csv"
