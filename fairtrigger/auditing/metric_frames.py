"""fairlearn's MetricFrame: out of an audit's counts, and counts out of one. Needs fairlearn where one is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fairtrigger.auditing.audited_counts import AuditInput, AuditTerms, VersionCells, known_value
from triggers.errors import ConfigError, DataError

NOT_SELECTED, SELECTED = "not selected", "selected"
COUNT_ROUNDING = 1e-6
"""Of a count that a MetricFrame gives as a rate."""


def make_metric_frame(version: VersionCells, terms: AuditTerms, *, labelled_only: bool = False) -> Any:
    """A MetricFrame over the counted rows: count, selection_rate and, with labels, accuracy and both error rates.

    Rows of unknown group have the group `unknown` in it. Raises DataError for overlapping groups, and where only a
    part of the rows is labelled unless the others shall be left out; ConfigError without fairlearn.
    """
    try:
        from fairlearn.metrics import MetricFrame, count
    except ImportError as error:
        raise ConfigError("A MetricFrame needs fairlearn: pip install fairlearn.") from error
    if terms.overlapping:
        raise DataError("A MetricFrame puts every row into one group, and these overlap: use the audit's own tables.")
    rows = sum(version.cells.values())
    labelled = sum(n for (_, label, _), n in version.cells.items() if label is not None)
    if 0 < labelled < rows and not labelled_only:
        raise DataError(
            f"{rows - labelled} of {rows} rows have no true label, which a MetricFrame needs: "
            "metric_frame(labelled_only=True) leaves them out, also from its selection rates."
        )
    if labelled_only and not labelled:
        raise DataError("No row has a true label: leave out labelled_only for a MetricFrame of selection rates.")
    cells = {cell: n for cell, n in version.cells.items() if cell[1] is not None or not labelled}
    true = _repeated({cell: cell[2] if cell[1] is None else cell[1] for cell in cells}, cells)
    predicted = _repeated({cell: cell[2] for cell in cells}, cells)
    features = {
        attribute: _repeated({cell: cell[0][place] or "unknown" for cell in cells}, cells)
        for place, attribute in enumerate(terms.attributes)
    }
    metrics = {"count": count} | _metrics(terms.positive, with_labels=labelled > 0)
    return MetricFrame(metrics=metrics, y_true=true, y_pred=predicted, sensitive_features=features)


def _repeated(values: Mapping[Any, Any], cells: Mapping[Any, int]) -> Any:
    return np.repeat(list(values.values()), list(cells.values()))


def _metrics(positive: int, *, with_labels: bool) -> dict[str, Any]:
    """fairlearn's metrics on "is the watched label", so that they mean the same for more than two labels."""
    from fairlearn.metrics import false_positive_rate, selection_rate, true_positive_rate

    def watched(metric: Any) -> Any:
        return lambda true, predicted: metric(
            np.asarray(true) == positive, np.asarray(predicted) == positive, pos_label=True
        )

    def accuracy(true: Any, predicted: Any) -> float:
        return float(np.mean(np.asarray(true) == np.asarray(predicted)))

    found = {"selection_rate": watched(selection_rate)}
    if with_labels:
        errors = {
            "true_positive_rate": watched(true_positive_rate),
            "false_positive_rate": watched(false_positive_rate),
        }
        found |= {"accuracy": accuracy} | errors
    return found


def read_metric_frame(frame: Any, confidence: float) -> AuditInput:
    """The counts in a MetricFrame that has `count` and `selection_rate`. Raises DataError for any other.

    Rates of errors do not say how many rows there were of each label, so that they cannot be taken over.
    """
    by_group = frame.by_group
    names = list(getattr(by_group, "columns", ()))
    lacking = [name for name in ("count", "selection_rate") if name not in names]
    if lacking:
        raise DataError(
            f"The MetricFrame has no {' and no '.join(lacking)} by group, so that it holds no counts: make it with "
            "metrics={'count': count, 'selection_rate': selection_rate}, or audit its rows."
        )
    if frame.control_levels:
        raise DataError("The MetricFrame has control features: audit its rows, with these as groups.")
    attributes = tuple(str(name) for name in frame.sensitive_levels)
    order = sorted(range(len(attributes)), key=lambda place: attributes[place])
    cells: dict[Any, int] = {}
    for key, rows in by_group.iterrows():
        if rows["count"] != rows["count"] or not rows["count"]:
            continue  # an intersection without rows
        values = key if isinstance(key, tuple) else (key,)
        group = tuple(known_value(values[place]) for place in order)
        n, selected = _whole(rows["count"], key), _whole(rows["count"] * rows["selection_rate"], key)
        for prediction, rows_of in ((0, n - selected), (1, selected)):
            cells[group, None, prediction] = cells.get((group, None, prediction), 0) + rows_of
    terms = AuditTerms((NOT_SELECTED, SELECTED), 1, tuple(sorted(attributes)), confidence)
    source = {"kind": "metric_frame", "rows": sum(cells.values())}
    return AuditInput(terms, {"given": VersionCells(cells)}, source, {"name": None, "digest": None})


def _whole(value: float, group: Any) -> int:
    nearest = round(value)
    if abs(value - nearest) > COUNT_ROUNDING * max(1.0, abs(value)):
        raise DataError(f"Count times selection rate of {group!r} is {value}, no whole number of rows.")
    return nearest
