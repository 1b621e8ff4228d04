"""Cautions before a training, one line each, on the data, its parts and the bare model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from trainer.config import Criterion, RunConfig
from trainer.evaluation.power import VisibleGap
from trainer.evaluation.selection import selection_gap
from trainer.formatting import format_count, format_number
from trainer.overview.bare_sample import BareSample
from trainer.overview.part_rows import PartRows
from triggers.metrics import FairnessReport, wilson
from triggers.metrics.intervals import critical

FEW_ROWS = 30
"""Rows of a label and group below which their rates say little."""
SMALL_PART = 200
RARE = 0.1
"""Share of the rows below which a label is rare."""
UNLIKE = 0.05
"""Difference of a label's share in two parts, beyond noise, above which they are unlike."""
CONSTANT_SHARE = 0.99
"""Share of one answer above which a model answers nothing else."""
MANY = 0.02
"""Share of the inputs above which what they are like is told."""
MOST_TOLD = 5
Z = critical(0.95)


def data_cautions(config: RunConfig, parts: PartRows, *, fitted: bool) -> list[str]:
    """Cautions on the parts of the data; `fitted`: whether there is a bundle, and the base part plays no role."""
    used = ("tuning", "val", "test") if fitted else ("base", "tuning", "val", "test")
    return [
        *_sizes(parts, used),
        *_rare_labels(config, parts, used),
        *_unmeasured(config.objective.criterion, parts),
        *_small_cells(parts),
        *_unlike_parts(parts, [part for part in used if parts.size(part)]),
    ]


def model_cautions(
    parts: PartRows, bare: BareSample, report: FairnessReport, criterion: Criterion, visible: Sequence[VisibleGap]
) -> list[str]:
    """Cautions on the bare model's predictions; `visible`: the gaps of the criterion that the test part can show."""
    return [
        *_wrong_order(parts.label_names, bare),
        *_poor_answers(parts.label_names, bare, report),
        *_small_gap(report, criterion, visible),
    ]


def input_cautions(bare: BareSample, wanted: tuple[int, int] | None) -> list[str]:
    """Cautions on the inputs of the sample; `wanted`: width and height of a network's images."""
    found = []
    if bare.unusable:
        found.append(f"{_of(len(bare.unusable), bare)} inputs cannot be used; the first: {bare.unusable[0]}")
    if bare.cut > MANY * bare.rows:
        found.append(f"{_of(bare.cut, bare)} texts are longer than the model reads and are cut.")
    if bare.grey > MANY * bare.rows:
        found.append(f"{_of(bare.grey, bare)} images are grey, and the model takes colours.")
    if wanted:
        small = sum(n for size, n in bare.sizes.items() if 2 * max(size) < max(wanted))
        if small > MANY * bare.rows:
            width, height = wanted
            found.append(f"{_of(small, bare)} images are less than half as large as the model's {width} x {height}.")
    return found


def _of(count: int, bare: BareSample) -> str:
    return f"{format_count(count)} of {format_count(bare.rows + len(bare.unusable))}"


def _sizes(parts: PartRows, used: Sequence[str]) -> Iterator[str]:
    for part in used:
        n = parts.size(part)
        if n == 0:
            yield f"The {part} part is empty, and the run will stop there: give split.{part} some rows."
        elif n < SMALL_PART:
            yield f"The {part} part has {n} rows; below {SMALL_PART} nearly everything is noise."


def _rare_labels(config: RunConfig, parts: PartRows, used: Sequence[str]) -> Iterator[str]:
    rows, total = parts.rows(*used), max(sum(map(parts.size, used)), 1)
    for label, name in enumerate(parts.label_names):
        share = rows.get((label, None), 0) / total
        if share == 0:
            yield f"No row has the label {name!r}."
        elif share < RARE:
            advice = "read its recall, which accuracy hides"
            if config.select.measure == "accuracy":
                advice += '; select.measure = "balanced_accuracy" counts it in full'
            yield f"The label {name!r} is rare, {share:.1%} of the rows: {advice}."


def _unmeasured(criterion: Criterion, parts: PartRows) -> Iterator[str]:
    """Groups that a gap of the criterion leaves out in val or test, or all of them."""
    what = criterion.replace("_", " ")
    for part in ("val", "test"):
        rows = parts.rows(part)
        lacking = {group: _missing_labels(criterion, parts, rows, group) for group in parts.groups}
        out = {group: names for group, names in lacking.items() if names}
        if len(parts.groups) - len(out) < 2 and parts.size(part):
            yield f"{what} cannot be measured on {part}: {_first(_without(out))}."
        elif out:
            yield f"{what} on {part} leaves out what has no rows: {_first(_without(out))}."


def _missing_labels(
    criterion: Criterion, parts: PartRows, rows: Mapping[tuple[int, str | None], int], group: str
) -> list[str]:
    """The labels without which the group's rates are not defined; of demographic parity, all together."""
    missing = [name for label, name in enumerate(parts.label_names) if not rows.get((label, group))]
    return missing if criterion == "equalized_odds" or len(missing) == len(parts.label_names) else []


def _without(groups: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"no {' or '.join(map(repr, names))} in {group!r}" for group, names in groups.items()]


def _small_cells(parts: PartRows) -> Iterator[str]:
    for part in ("tuning", "val", "test"):
        rows = parts.rows(part)
        few = {cell: n for cell, n in rows.items() if cell[1] is not None and n < FEW_ROWS}
        named = [f"{group!r} with {parts.label_names[label]!r} ({few[label, group]})" for label, group in few]
        if named:
            yield f"Fewer than {FEW_ROWS} rows in {part}, whose rates say little: {_first(named)}."


def _unlike_parts(parts: PartRows, used: Sequence[str]) -> Iterator[str]:
    """The label whose share differs most between two parts, if by more than UNLIKE and four standard deviations."""
    found: list[tuple[float, int, str]] = []
    for label, name in enumerate(parts.label_names):
        for pair in combinations(used, 2):
            one, other = (parts.share(label, part) for part in pair)
            noise = (one * (1 - one) / parts.size(pair[0]) + other * (1 - other) / parts.size(pair[1])) ** 0.5
            if abs(one - other) > max(UNLIKE, 4 * noise):
                shown = f"{name!r} is {one:.1%} of {pair[0]}, {other:.1%} of {pair[1]}"
                found.append((round(abs(one - other), 9), -len(found), shown))
    if found:
        yield f"The parts are unlike: {max(found)[2]}."


def _wrong_order(labels: Sequence[str], bare: BareSample) -> Iterator[str]:
    """Labels whose rows mostly get another label's answer, in a circle, or an accuracy below chance."""
    answers = {label: _answers(bare, label) for label in range(len(labels))}
    mostly = {label: _clear_majority(found) for label, found in answers.items()}
    moved = {label: answer for label, answer in mostly.items() if answer not in (None, label)}
    recalls = [(found[label], sum(found)) for label, found in answers.items() if sum(found)]
    right, n = sum(hits for hits, _ in recalls), sum(rows for _, rows in recalls)
    if moved and set(moved) == set(moved.values()):
        shown = ", ".join(
            f"{labels[one]!r} is answered {labels[other]!r}" for one, other in moved.items() if other is not None
        )
        problem = f"{shown} on most rows"
    elif n and len(recalls) > 1 and _balanced_below_chance(recalls):
        problem = f"the model is right on {format_number(right / n)} of the rows, clearly below chance"
    else:
        return
    advice = "Check the order of the bundle's labels, and what the data's values mean"
    yield f"The labels look inverted: {problem}. {advice}."


def _answers(bare: BareSample, label: int) -> list[int]:
    """Rows of a label by answer (L,)."""
    size = 1 + max((max(y or 0, answer) for _, y, answer in bare.counts), default=0)
    found = [0] * max(size, label + 1)
    for (_, y, answer), n in bare.counts.items():
        found[answer] += n * (y == label)
    return found


def _clear_majority(found: Sequence[int]) -> int | None:
    """The answer that clearly more than half of the rows get."""
    most, n = max(found), sum(found)
    return found.index(most) if n and wilson(most, n, Z)[0] > 0.5 else None


def _balanced_below_chance(recalls: Sequence[tuple[int, int]]) -> bool:
    shares = [hits / rows for hits, rows in recalls]
    deviation = sum((p * (1 - p) + 1 / n) / n for p, (_, n) in zip(shares, recalls, strict=True)) ** 0.5 / len(shares)
    return bool(sum(shares) / len(shares) + Z * deviation < 1 / len(shares))


def _poor_answers(labels: Sequence[str], bare: BareSample, report: FairnessReport) -> Iterator[str]:
    answers = [sum(n for (_, _, answer), n in bare.counts.items() if answer == label) for label in range(len(labels))]
    truth = [sum(n for (_, y, _), n in bare.counts.items() if y == label) for label in range(len(labels))]
    most, common = max(answers), max(truth)
    constant, accuracy = common / bare.rows, report.overall.accuracy
    if most >= CONSTANT_SHARE * bare.rows:
        yield f"The model answers {labels[answers.index(most)]!r} on {most / bare.rows:.1%} of the rows."
        return
    never = [repr(name) for name, n, rows in zip(labels, answers, truth, strict=True) if rows and not n]
    if never:
        yield f"The model never answers {_first(never)}."
    if accuracy.low is not None and accuracy.value is not None and accuracy.low <= constant:
        same = f"always answering {labels[truth.index(common)]!r}, {format_number(constant)}"
        yield f"The accuracy, {format_number(accuracy.value)}, is not clearly above that of {same}."


def _small_gap(report: FairnessReport, criterion: Criterion, visible: Sequence[VisibleGap]) -> Iterator[str]:
    name, gap = selection_gap(report, criterion)
    if gap.value is None:
        return
    if gap.low == 0:
        yield f"The model's {name}, {format_number(gap.value)}, is within noise: there may be nothing to lower."
    seen = [one.value for one in visible if one.value is not None]
    if seen and gap.value < min(seen):
        smallest = format_number(min(seen))
        yield f"The model's {name}, {format_number(gap.value)}, is smaller than the test part can show, {smallest}."


def _first(words: Sequence[str]) -> str:
    """The first of some words, and how many more there are."""
    more = f" and {len(words) - MOST_TOLD} more" if len(words) > MOST_TOLD else ""
    return ", ".join(words[:MOST_TOLD]) + more
