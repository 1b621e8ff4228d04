"""A run's history for TensorBoard: scalars by step, the configuration and the model card as text, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.progress.figure_journal import TrackedFigure
from trainer.progress.run_tracker import Ending
from triggers.errors import ConfigError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorboardLog:
    """Event files in one folder, made at once. Of an earlier start, TensorBoard drops the steps that come again."""

    def __init__(self, folder: Path, toml: str) -> None:
        """Raises ConfigError without the package, or where nothing can be written."""
        try:
            import torch.utils.tensorboard  # noqa: F401 - to know now
        except ImportError as error:
            raise ConfigError("track.tensorboard needs the extra: pip install 'fairtrigger[tracking]'.") from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"track.tensorboard: {folder} cannot be made ({error.strerror}).") from error
        self.place, self.folder, self._toml = f"TensorBoard's folder {folder}", folder, toml
        self._made: SummaryWriter | None = None

    def log_figures(self, figures: Sequence[TrackedFigure]) -> None:
        """Write scalars."""
        writer = self._writer(min(one.step for one in figures))
        for one in figures:
            writer.add_scalar(one.name, one.value, one.step, walltime=one.moment / 1000)
        writer.flush()

    def log_facts(self, facts: Mapping[str, str]) -> None:
        """Write a table of facts as text."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
        self._writer().add_text("result", f"| | |\n|-|-|\n{rows}")

    def log_files(self, folder: Path, files: Sequence[Path]) -> None:
        """Write the pictures and the model card; other files have no place here."""
        import numpy as np
        from PIL import Image

        writer = self._writer()
        for file in files:
            if file.suffix == ".png":
                with Image.open(file) as picture:
                    writer.add_image(file.stem, np.asarray(picture.convert("RGB")), dataformats="HWC")
            elif file.suffix == ".md":
                writer.add_text(file.stem, file.read_text(encoding="utf-8"))
        writer.flush()

    def end(self, ending: Ending) -> None:
        """Close the file, if there is one."""
        if self._made:
            self._made.close()

    def _writer(self, first: int | None = None) -> SummaryWriter:
        if self._made is None:
            from torch.utils.tensorboard import SummaryWriter

            self._made = SummaryWriter(str(self.folder), purge_step=first)
            self._made.add_text("configuration", f"```\n{self._toml}```")
        return self._made
