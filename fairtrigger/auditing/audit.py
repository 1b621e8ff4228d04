"""The audit: counts from a file, a data frame, a MetricFrame or a running service, all figures, and their files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from fairtrigger.auditing.audit_figures import audit_facts, derive, input_of
from fairtrigger.auditing.audit_signature import own_software, sealed
from fairtrigger.auditing.audited_counts import AuditInput
from fairtrigger.auditing.decision_labels import LabelChoice
from fairtrigger.auditing.decision_rows import open_decisions
from fairtrigger.auditing.documents import audit_csv, audit_pdf, audit_rows, hub_card, render_audit
from fairtrigger.auditing.impact_ratios import ll144_template
from fairtrigger.auditing.live_counts import read_live_counts
from fairtrigger.auditing.metric_frames import make_metric_frame, read_metric_frame
from fairtrigger.auditing.score_file import ColumnChoice, read_score_file
from triggers.artifact.signature import read_signer
from triggers.errors import ConfigError, DataError, NotFound
from triggers.storage import write_atomically

Template = Literal["ll144", "ai-act", "model-card"]
TEMPLATES: tuple[Template, ...] = ("ll144", "ai-act", "model-card")
CARD_FILE = "model-card.md"


@dataclass(frozen=True)
class AuditReport:
    """An audit: all counts and every figure that follows from them, as the JSON-ready values of audit.json."""

    document: Mapping[str, Any]

    @property
    def figures(self) -> Mapping[str, Any]:
        """Every figure by version; of each `overall`, `groups`, `gaps`, `attributes`, `worst_cells`, `coverage`."""
        found: Mapping[str, Any] = self.document["figures"]
        return found

    @property
    def findings(self) -> Sequence[str]:
        """What the figures mean, in sentences."""
        found: Sequence[str] = self.document["findings"]
        return found

    @property
    def cautions(self) -> Sequence[str]:
        """What is missing, and what the counts are too few to say."""
        found: Sequence[str] = self.document["cautions"]
        return found

    def data_frame(self) -> Any:
        """Every figure as a pandas data frame, a row each. Needs pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ConfigError("A data frame needs pandas: pip install pandas.") from error
        return pandas.DataFrame(audit_rows(self.document))

    def metric_frame(self, version: str | None = None, *, labelled_only: bool = False) -> Any:
        """fairlearn's MetricFrame over the counted rows of a version; the first unless it is named.

        Raises NotFound for a version that is not in the audit, DataError where a MetricFrame cannot say the same.
        """
        found = input_of(self.document)
        name = next(iter(found.versions)) if version is None else version
        if name not in found.versions:
            raise NotFound(f"The audit has no version {name!r}; it has {', '.join(found.versions)}.")
        return make_metric_frame(found.versions[name], found.terms, labelled_only=labelled_only)

    def html(self) -> str:
        """The page. Needs the extra `audit`."""
        return render_audit(self.document)

    def pdf(self) -> bytes:
        """The PDF. Needs the extra `audit`."""
        return audit_pdf(self.document)

    def model_card(self) -> str:
        """A Hugging Face model card with metadata."""
        return hub_card(self.document)

    def write(self, folder: Path | str) -> list[Path]:
        """Write audit.json, .csv, .html and .pdf into a folder, and the card where that is the template."""
        template = self.document["template"]
        text = json.dumps(self.document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        files = {
            "audit.json": text.encode(),
            "audit.csv": audit_csv(self.document).encode(),
            "audit.html": self.html().encode(),
            "audit.pdf": self.pdf(),
        }
        if template and template["name"] == "model-card":
            files[CARD_FILE] = self.model_card().encode()
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_atomically(place / name, content)
            (place / name).chmod(0o644)
        return [place / name for name in files]


def audit(
    source: Any = None,
    *,
    live: str | None = None,
    model: str | None = None,
    window: str = "all",
    token: str | None = None,
    decision: str | None = None,
    truth: str | None = None,
    groups: Mapping[str, str] | Sequence[str] = (),
    score: str | None = None,
    version: str | None = None,
    threshold: float | None = None,
    labels: Sequence[str] = (),
    positive: str | None = None,
    confidence: float | None = None,
    overlapping: bool = False,
    template: Template | None = None,
    period: tuple[str, str] | None = None,
    exclude_small: str | None = None,
    sign: Path | str | None = None,
    out: Path | str | None = None,
) -> AuditReport:
    """An audit of the decisions in `source`, or of those that the service at the address `live` counted.

    `source` is a file (CSV, JSON lines, Parquet; `fairtrigger score`'s columns are known), a pandas data frame or a
    fairlearn MetricFrame; the others say its columns, `groups` several of them, by attribute if it is a mapping.
    `positive` is the label whose rate is watched. `threshold` makes decisions of `score`. `model`, `window` and
    `token` are for `live`. `period` (since, until) and `exclude_small` (why) are for the template `ll144`. `sign` is a
    private key's file; `out` a folder for audit.json, .csv, .html and .pdf.
    Raises DataError for what is missing or ambiguous, ConfigError for what does not go together, and what
    `read_live_counts` raises.
    """
    _check_words(source, live, template, period, exclude_small, confidence)
    named = dict(groups) if isinstance(groups, Mapping) else {name: name for name in groups}
    if live is not None:
        if named or decision or truth or score or labels or positive:
            raise ConfigError("Columns and labels are a file's; a service knows its own.")
        found = read_live_counts(live, model, window, token, confidence)
    elif hasattr(source, "by_group") and hasattr(source, "sensitive_levels"):
        found = read_metric_frame(source, confidence or 0.95)
    else:
        cut = template == "ll144" and threshold is None
        columns = ColumnChoice(decision, truth, named, score, version, threshold, median_cut=cut)
        choice = LabelChoice(labels, positive, confidence or 0.95, overlapping)
        found = read_score_file(open_decisions(source), columns, choice)
    if model and live is None:
        found = _with_model(found, model)
    signer = read_signer(Path(sign)) if sign else None
    asked: dict[str, Any] | None = {"name": template} if template else None
    if template == "ll144":
        asked = ll144_template(found, period, exclude_small)
    made = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    facts = audit_facts(found, own_software(), made, asked)
    report = AuditReport(sealed(facts | derive(found, asked), signer))
    if out is not None:
        report.write(out)
    return report


def _with_model(found: AuditInput, name: str) -> AuditInput:
    return replace(found, model={**found.model, "name": name})


def _check_words(
    source: Any,
    live: str | None,
    template: str | None,
    period: Sequence[str] | None,
    exclude_small: str | None,
    confidence: float | None,
) -> None:
    """Raise ConfigError for what does not go together."""
    if (source is None) == (live is None):
        raise ConfigError("Give a file of decisions, or the address of a service with --live: one of them.")
    if template is not None and template not in TEMPLATES:
        raise ConfigError(f"There is no template {template!r}; there are {', '.join(TEMPLATES)}.")
    if template != "ll144" and (period or exclude_small):
        raise ConfigError("--period and --exclude-small are for --template ll144.")
    if confidence is not None and not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence is {confidence}; give a number like 0.95.")
    if period is not None:
        _check_period(period)


def _check_period(period: Sequence[str]) -> None:
    try:
        since, until = map(date.fromisoformat, period)
    except ValueError as error:
        raise ConfigError(f"--period {'/'.join(period)}: give two days, as 2025-01-01/2025-12-31.") from error
    if until < since:
        raise DataError(f"--period {since}/{until} ends before it begins.")
