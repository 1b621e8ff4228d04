"""The self-check of a bundle when it is loaded: every way in which it would answer otherwise than its model, in order.

What can be read is checked first; the network runs, on a few made-up inputs, only if nothing was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from triggers.errors import EndpointUnavailable, ModelError
from triggers.model.bundle import TransformersLoader, pretrained, transformers_source
from triggers.model.classifier import FrozenClassifier
from triggers.model.endpoint_classifier import EndpointClassifier
from triggers.model.head import MultiLabelHead, ProbabilitiesHead, SigmoidHead, SoftmaxHead, head_fault, head_outputs
from triggers.model.image_processor import PROCESSOR_FILE, image_difference, image_spec_of
from triggers.model.networks.checkpoint import not_finite
from triggers.model.padding_probe import check_padding, find_padding
from triggers.model.preprocessor import Item
from triggers.model.reprogram import reprogram, scores
from triggers.model.text.tokenizer import check_tokenizer
from triggers.preprocessing import TokenIds

CHECKED_TOKENS, CHECKED_WORDS = 16, (1, 3, 2)
"""Tokens of the longest text that is tried, and words of the others."""
COMPANY_TOLERANCE, NARROW_TOLERANCE = 1e-3, 0.05
"""Largest difference of a score between an image alone and in a batch, of float32 and of half precision."""


@dataclass(frozen=True)
class CheckResult:
    """One check: its `fault` in one line, or empty, and a `note` on what was seen."""

    check: str
    fault: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A bundle as it was loaded. `weights_fault` is why its weights are not the whole network, or empty."""

    folder: Path
    classifier: FrozenClassifier
    weights_fault: str = ""


def run_checks(bundle: LoadedBundle) -> Iterator[CheckResult]:
    """The result of every check that applies, in order; those that run the network only if all others passed."""
    text = bundle.classifier.spec.text is not None
    if isinstance(bundle.classifier, EndpointClassifier):
        yield from _endpoint_checks(bundle)
        return
    read: list[tuple[str, _Check]] = [("weights", _weights), ("labels", _labels), ("head", _problem_type)]
    read += [("tokenizer", _tokenizer), ("positions", _positions)] if text else [("processor", _processor)]
    run: list[tuple[str, _Check]] = [("outputs", _outputs)]
    run += [("padding", _padding)] if text else [("batches", _batches)]
    passed = True
    for name, check in (*read, *run):
        if not passed and (name, check) in run:
            return
        result = _result(name, check, bundle)
        passed = passed and not result.fault
        yield result


_Check = Callable[[LoadedBundle], str]
"""Says what was seen. Raises ModelError with the fault."""


def _result(name: str, check: _Check, bundle: LoadedBundle) -> CheckResult:
    try:
        return CheckResult(name, note=check(bundle))
    except (ModelError, EndpointUnavailable) as error:
        return CheckResult(name, " ".join(str(error).split()))


def _endpoint_checks(bundle: LoadedBundle) -> Iterator[CheckResult]:
    """A head that the recorded outputs fit, and a model that gives them still."""
    head = _result("head", _canary_head, bundle)
    yield head
    if not head.fault:
        yield _result("canary", _canary, bundle)


def _canary_head(bundle: LoadedBundle) -> str:
    """A head that the recorded outputs of the canary can be meant for."""
    classifier = bundle.classifier
    assert isinstance(classifier, EndpointClassifier)
    head, outputs = classifier.spec.head, classifier.canary.outputs
    if fault := head_fault(head, head_outputs(head, outputs, len(classifier.labels))):
        raise ModelError(fault)
    return f"{head.kind}, {outputs.shape[1]} outputs for {', '.join(classifier.labels)}"


def _canary(bundle: LoadedBundle) -> str:
    """An endpoint that answers its canary as it did."""
    classifier = bundle.classifier
    assert isinstance(classifier, EndpointClassifier)
    difference = classifier.canary.difference(classifier.ask_canary())
    classifier.check_canary(difference)
    loader, selected = classifier.endpoint.loader, scores(classifier.logits(classifier.canary.outputs))
    spread = float((selected.amax(dim=0) - selected.amin(dim=0))[classifier.spec.pos_label])
    return (
        f"{loader.url} answers {len(classifier.canary.outputs)} inputs as recorded: largest difference of an output "
        f"{difference:.1e} of {loader.canary_tolerance:.1e} allowed; scores spread by {spread:.2g}"
    )


def _weights(bundle: LoadedBundle) -> str:
    """All there, and numbers."""
    if fault := bundle.weights_fault or not_finite(bundle.classifier.network):
        raise ModelError(fault + ".")
    weights = list(bundle.classifier.network.parameters())
    return f"{sum(weight.numel() for weight in weights):,} in {str(bundle.classifier.dtype).removeprefix('torch.')}"


def _labels(bundle: LoadedBundle) -> str:
    """Labels in the order of the network's own names, where it has any."""
    spec, names = bundle.classifier.spec, _own_names(bundle)
    outputs: list[int | None] = list(range(len(spec.labels)))
    if isinstance(spec.head, MultiLabelHead):
        outputs = [None, spec.head.index]
    elif isinstance(spec.head, SigmoidHead) or len(names) == 1:
        outputs = [None, 0]
    elif not isinstance(spec.head, SoftmaxHead | ProbabilitiesHead):
        return "not comparable"
    for label, output in zip(spec.labels, outputs, strict=True):
        own = names.get(_plain(label))
        if own is not None and own != output:
            place = "stands for none" if output is None else f"is {output}"
            raise ModelError(
                f"label {label!r} of model.json {place} of the network's outputs, but config.json (id2label) says that "
                f"it is {own}: put `labels` in the order {', '.join(names)}, and see that pos_label is still right."
            )
    return ", ".join(spec.labels) + ("" if names else " (the network names none)")


def _own_names(bundle: LoadedBundle) -> dict[str, int]:
    """The network's label names in lower case and their outputs; empty where it has none but LABEL_0 and so on."""
    config: Any = getattr(bundle.classifier.network, "config", None)
    id2label = (
        getattr(config, "id2label", None) if isinstance(bundle.classifier.spec.loader, TransformersLoader) else {}
    )
    named = {_plain(str(name)): int(output) for output, name in (id2label or {}).items()}
    return {} if all(name == f"label {output}" for name, output in named.items()) else named


def _plain(name: str) -> str:
    """A name as people write it in different ways: without case, underscores for blanks."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _problem_type(bundle: LoadedBundle) -> str:
    """A head that fits the problem type that the network was trained for, where that is stated."""
    head = bundle.classifier.spec.head
    stated = str(getattr(getattr(bundle.classifier.network, "config", None), "problem_type", None) or "")
    heads = {"single_label_classification": ("softmax",), "multi_label_classification": ("multi_label", "sigmoid")}
    fitting = (*heads.get(stated, ()), "probabilities", "expected_value")
    if stated in (*heads, "regression") and head.kind not in fitting:
        raise ModelError(
            f"`head` in model.json is {head.kind}, but config.json says problem_type {stated}: run `fairtrigger wrap` "
            "on the model's own folder, or correct the wrong one."
        )
    return head.kind + (f", {stated}" if stated else "")


def _processor(bundle: LoadedBundle) -> str:
    """An image section that says the same as the model's own image processor, where that lies in the bundle."""
    spec = bundle.classifier.spec
    source, revision = str(bundle.folder), "main"
    if isinstance(spec.loader, TransformersLoader):
        source, revision = transformers_source(bundle.folder, spec.loader), spec.loader.revision or "main"
    if Path(source).is_dir() and not (Path(source) / PROCESSOR_FILE).is_file():
        return f"no {PROCESSOR_FILE} to compare with"
    from transformers import AutoImageProcessor

    try:
        own = image_spec_of(pretrained(AutoImageProcessor, source, revision=revision))
    except ModelError as error:
        return f"{PROCESSOR_FILE} could not be compared: {error}"
    assert spec.image
    if difference := image_difference(spec.image, own):
        raise ModelError(
            f"`image` in model.json is not what {PROCESSOR_FILE} says: {difference}. Run `fairtrigger wrap` on the "
            f"model's own folder; if model.json is right, remove {PROCESSOR_FILE} from the bundle."
        )
    return f"as {PROCESSOR_FILE} says"


def _tokenizer(bundle: LoadedBundle) -> str:
    """A tokenizer whose words the network has embeddings of."""
    rows = len(cast(Any, bundle.classifier.network).get_input_embeddings().weight)
    check_tokenizer(bundle.classifier.tokenizer, rows)
    return f"{len(bundle.classifier.tokenizer)} words, {rows} embeddings"


def _positions(bundle: LoadedBundle) -> str:
    """Positions enough for the longest text."""
    bundle.classifier.check_length()
    most = bundle.classifier.max_positions
    return "no limit" if most is None else f"{most}"


def _outputs(bundle: LoadedBundle) -> str:
    """As many finite outputs as the head takes, and such that it can be theirs."""
    classifier, seen = bundle.classifier, []
    hook = classifier.network.register_forward_hook(lambda _network, _given, output: seen.append(output))
    try:
        _logits(classifier, _samples(classifier))
    finally:
        hook.remove()
    outputs = torch.cat([head_outputs(classifier.spec.head, output, len(classifier.labels)) for output in seen])
    if fault := head_fault(classifier.spec.head, outputs):
        advice = ' (it computes in float16: set loader.dtype to "float32")' if outputs.dtype == torch.float16 else ""
        raise ModelError(fault + advice)
    return f"{outputs.shape[1]}, for {len(classifier.labels)} labels"


def _batches(bundle: LoadedBundle) -> str:
    """The same scores for an image alone and in company."""
    classifier, samples = bundle.classifier, _samples(bundle.classifier)
    together = scores(_logits(classifier, samples))
    alone = torch.cat([scores(_logits(classifier, [sample])) for sample in samples])
    difference = float((together - alone).abs().max())
    if difference > (NARROW_TOLERANCE if classifier.half_precision else COMPANY_TOLERANCE):
        raise ModelError(
            f"scores of an image change by {difference:.2g} with the company of its batch, or from one time to the "
            "next: the network must do without statistics of a batch, and without chance."
        )
    return f"an image alone and in company differs by {difference:.1e}"


def _padding(bundle: LoadedBundle) -> str:
    """The same logits for a text's embeddings in a mixed batch and for its token ids alone."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # which convolutions on a GPU round to otherwise
        found = check_padding(bundle.classifier, CHECKED_TOKENS, CHECKED_WORDS)
    if found.reason:
        right = find_padding(bundle.classifier)
        raise ModelError(
            f'under padding "{found.padding}" {found.reason}: set text.padding to "{right}" in model.json.'
        )
    return f"{found.padding}: embeddings in company differ by {found.difference:.1e} from token ids alone"


def _logits(classifier: FrozenClassifier, items: list[Item]) -> Tensor:
    """Logits without a trigger. Raises ModelError, with the inputs' shape, whatever the network's code raises."""
    bank, index = classifier.bank([classifier.null_trigger()]), torch.zeros(len(items), dtype=torch.long)
    try:
        with torch.no_grad():
            return reprogram(classifier, classifier.batch(items), bank, index.to(classifier.device))
    except ModelError:
        raise
    except Exception as error:  # whatever the network's code raises is the reason
        spec = classifier.spec
        given = "texts" if spec.image is None else "images of {} x {} x {}".format(*spec.image.pixel_shape)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        name = type(classifier.network).__name__
        raise ModelError(f"{name} does not take {given} (`{spec.modality}` in model.json): {reason}") from error


def _samples(classifier: FrozenClassifier) -> list[Item]:
    """Two inputs of noise, alike on every machine: images, or texts of unequal length."""
    drawn = torch.Generator().manual_seed(0)
    if classifier.spec.image:
        shape = (2, *classifier.spec.image.pixel_shape)
        pixels = torch.randint(0, 256, shape, generator=drawn, dtype=torch.uint8)
        return list(pixels)
    assert classifier.spec.text
    template, rows = classifier.template, len(classifier.embedding_matrix)
    room = classifier.spec.text.max_tokens - template.tokens
    words = [torch.randint(0, rows, (min(count, room),), generator=drawn).tolist() for count in (2, 7)]
    return [TokenIds((*template.prefix, *each, *template.suffix), truncated=False) for each in words]
