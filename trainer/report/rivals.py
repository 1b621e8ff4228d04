"""What does as well as the triggers or better, in sentences: that it does, its figures, how to use it."""

from __future__ import annotations

from math import exp, log

from trainer.formatting import (
    Json,
    format_change,
    format_interval,
    format_number,
    inputs_word,
    join_words,
    objective_gap,
    shown_candidate,
)
from triggers.artifact.selection_record import SelectionRecord

NAMES = {
    "threshold": "A threshold shift",
    "constant": "The constant answer",
    "random": "A random trigger that learned nothing",
    "shrink": "The shrunk image alone",
    "black": "Black in the trigger's place",
    "strength_zero": "A trigger for utility alone",
    "oxonfair": "OxonFair's merged head",
    "frappe": "FRAPPE's added head",
    "linear_post": "LinearPost's rule",
    "faap": "FAAP's generator",
    "adv_post": "AdvPost",
    "adv_in": "AdvIN",
}
RIVAL_ADVICE = {
    "random": "nothing that was learned here is worth using",
    "strength_zero": "use it instead of a trigger for fairness",
}
"""What follows from a system that does as well, where it is not to use it instead of a trigger."""


def rival_sentences(summary: Json) -> str:
    """What to use instead of a trigger, with figures of both splits, and how; empty if nothing cheaper does as well."""
    at = summary.get("rival")
    if at is None:
        return ""
    one = summary["comparisons"][at]
    advice = RIVAL_ADVICE.get(one["system"], "use it instead of a trigger")
    first = f"{NAMES[one['system']]} ({_setting(summary, one)}) does as well: {advice}."
    return " ".join([first, *(_figures(summary, one, split) for split in ("val", "test")), _use(summary, one)])


def better_rule(summary: Json) -> str:
    """The rule that is recommended instead of a trigger, why, its figures and its use; empty if none is."""
    at = alternatives(summary)["better"]
    if at is None:
        return ""
    one, shown = summary["comparisons"][at], shown_candidate(summary)["selection"]
    if summary["best"] is None:
        than = "anything cheaper" if summary["rival"] is not None else "the bare model"
        why = f"on validation its gap is clearly smaller than that of {than}"
    elif one["selection"]["status"] == shown["status"]:
        why = "on validation its gap is clearly smaller than that of any trigger"
    else:
        why = f"it is certified, the best trigger {shown['status']}, whose gap is not clearly smaller"
    first = f"Recommended is {_named(one)}, not a trigger: {why}."
    record = f"It is {SelectionRecord(**one['selection']).sentence}."
    return " ".join([first, record, *(_figures(summary, one, split) for split in ("val", "test")), _use(summary, one)])


def beside_sentences(summary: Json) -> str:
    """Rules that do as well as what is recommended, fairer ones that are not proved, and retrained models; or empty."""
    found, ones = alternatives(summary), summary.get("comparisons", ())
    said = []
    if found["equal"]:
        names = [f"{_named(ones[at])}, {ones[at]['selection']['status']}" for at in found["equal"]]
        stays = found["better"] is None and summary["best"] is not None
        why = "; the trigger stays recommended, as what the service serves" if stays else ""
        verb = "does" if len(names) == 1 else "do"
        said.append(f"{'; '.join(names)}: {verb} as well on validation{why}.")
    said += [
        f"Fairer but not proved: {_named(ones[at])}, gap {_gap(summary, ones[at])} on validation."
        for at in found["unproved"]
    ]
    said += [
        f"If the weights may be changed: {_named(ones[at])} has a clearly smaller gap on validation,"
        f" {_gap(summary, ones[at])}, at accuracy {format_interval(ones[at]['splits']['val']['overall']['accuracy'])};"
        f" it is {ones[at]['selection']['status']}."
        for at in found["retrained"]
    ]
    return " ".join(said)


def alternatives(summary: Json) -> Json:
    """Indices into the comparisons, as trainer.evaluation.alternatives has them; nothing in older summaries."""
    nothing: Json = {"better": None, "equal": [], "unproved": [], "retrained": []}
    found: Json = summary.get("alternatives", nothing)
    return found


def _named(one: Json) -> str:
    return f"{NAMES[one['system']]} ({one['setting']})"


def _gap(summary: Json, one: Json) -> str:
    return format_interval(objective_gap(one["splits"]["val"], summary["config"]["objective"]["criterion"])[1])


def shifted_threshold(shift: float, threshold: float | None) -> float:
    """The threshold of the positive label's score that means `shift` of its logit, from a threshold (None: .5) on."""
    before = 0.5 if threshold is None else threshold
    return 1 / (1 + exp(shift - log(before / (1 - before))))


def _setting(summary: Json, one: Json) -> str:
    if one["system"] != "threshold":
        return str(one["setting"])
    return f"{format_change(one['shift'])} on the logit of {summary['labels'][summary['pos_label']]}"


def _figures(summary: Json, one: Json, split: str) -> str:
    """Gap, accuracy and balanced accuracy of the system, of the trigger looked at, and of neither."""
    shown, where = shown_candidate(summary), "validation" if split == "val" else "test"
    bare = {"splits": summary["bare"], "balanced_accuracy": summary["bare_balanced_accuracy"]}
    reports = [each["splits"][split] for each in (one, shown, bare)]
    named = [objective_gap(report, summary["config"]["objective"]["criterion"]) for report in reports]
    mine, trigger, neither = (format_interval(gap) for _, gap in named)
    accuracies = join_words(format_number(report["overall"]["accuracy"]["value"]) for report in reports)
    balanced = join_words(format_number(each["balanced_accuracy"][split]["value"]) for each in (one, shown, bare))
    return (
        f"On {where} its {named[0][0]} is {mine}, that of strength {shown['strength']:g} {trigger}, the bare model's"
        f" {neither}; accuracies are {accuracies}, balanced ones {balanced}."
    )


def _use(summary: Json, one: Json) -> str:
    positive, inputs = summary["labels"][summary["pos_label"]], inputs_word(summary)
    match one["system"]:
        case "threshold" if len(summary["labels"]) == 2 or summary["threshold"] is not None:
            value = _exact(shifted_threshold(one["shift"], summary["threshold"]))
            now = ".5" if summary["threshold"] is None else f"{summary['threshold']:g}"
            return (
                f'To use it, give the model the threshold {value} instead of {now}: "threshold": {value} in its'
                f" model.json, or fairtrigger wrap --threshold {value}; {positive} is then the answer where its score"
                " is at least that. It is another model by its fingerprint, and needs no trigger."
            )
        case "threshold":
            return (
                f"To use it, add {one['shift']:.6g} to the logit of {positive} before the largest wins; with more than"
                " two labels no threshold in model.json says the same."
            )
        case "constant":
            return "To use it, no model is needed; a model that is worth no more should not decide anything."
        case "random":
            return (
                "What helps here is that the input changes, not what was learned. The trainer publishes no random"
                " triggers; give the trigger more room or more steps, or leave the model as it is."
            )
        case "shrink" | "black":
            return f"To use it, blacken that part of all {inputs} before the model sees them; nothing needs learning."
        case "oxonfair" | "frappe":
            reads = "infers the group from the input" if one["system"] == "oxonfair" else "reads the features alone"
            return (
                f"To use it, add features @ weight.T + bias of postprocessing/{one['system']}.safetensors to the logits"
                " that the model decides by, where the features are the input of its last linear layer"
                f" (docs/rivals.md). It {reads} and asks for nobody's group. The service serves triggers only: apply"
                " it where the model runs."
            )
        case "linear_post":
            return (
                "To use it, apply postprocessing/linear_post.safetensors as docs/rivals.md says. It infers the group"
                " from the input and asks for nobody's. The service serves triggers only: apply it where the model"
                " runs."
            )
        case "faap":
            return (
                "To use it, run its generator on every input before the model (baselines.save = true keeps it, in"
                " baselines/faap); the service serves triggers only."
            )
        case _:
            return (
                'To use it, train with objective.name = "gap", objective.strengths = [0.0] and objective.reweigh ='
                " false: what helps is the trigger's utility loss, not its fairness."
            )


def _exact(threshold: float) -> str:
    """Eight digits, which a score in float32 has; near 0 and 1 all."""
    return f"{threshold:.8g}" if 1e-3 < threshold < 1 - 1e-3 else repr(threshold)
