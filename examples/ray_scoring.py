"""The job of `fairtrigger score` on Ray Data, for more rows than one machine takes: Ray moves them, the scorer scores.

python -m examples.ray_scoring BUNDLE 'texts/*.parquet' OUT --id key --trigger none,v3 --store redis://... --scorers 8

Needs `pip install "ray[data]"`. Bundle and store must be where every worker reads them. OUT is a folder of Parquet
files with a row per input and version, by `id`; a row that cannot be used has its reason in `error`.
"""

from __future__ import annotations

from typing import Any

import ray
import typer

from fairtrigger.scoring import BatchScorer


class ScoreTexts:
    """One worker's scorer: loads model and triggers once, then takes batch after batch."""

    def __init__(self, bundle: str, trigger: list[str], store: str | None, id: str, text: str) -> None:
        self._scorer, self._id, self._text = BatchScorer.open(bundle, trigger, store), id, text
        figures = [f"score_{label}" for label in self._scorer.classifier.labels]
        self._columns = ["id", "label", *figures, "version", "digest", "error"]

    def __call__(self, frame: Any) -> Any:
        """A pandas frame of inputs to one of scores."""
        ids = frame[self._id].astype(str).tolist()
        scored = [{"id": ids[each.pop("row")], **each} for each in self._scorer(frame[self._text].tolist())]
        return type(frame)(scored).reindex(columns=self._columns).astype({"error": "string", "label": "string"})


def main(
    bundle: str, inputs: str, out: str, id: str = "id", text: str = "text", trigger: str = "none",
    store: str | None = None, scorers: int = 2,
) -> None:  # fmt: skip
    """Score a Parquet data set by several workers."""
    given = {"bundle": bundle, "trigger": trigger.split(","), "store": store, "id": id, "text": text}
    rows = ray.data.read_parquet(inputs, columns=[id, text])
    scores = rows.map_batches(ScoreTexts, fn_constructor_kwargs=given, batch_format="pandas", concurrency=scorers)
    scores.write_parquet(out)


if __name__ == "__main__":
    typer.run(main)
