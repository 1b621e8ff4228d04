"""A source that is a `transformers` folder, or a pinned id of the hub, for image or sequence classification."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from triggers.errors import ModelError
from triggers.model import BundleSpec, FrozenClassifier, find_padding
from triggers.model.bundle import TransformersLoader, pretrained
from triggers.model.head import Head, MultiLabelHead, SigmoidHead, SoftmaxHead
from triggers.model.image_processor import PROCESSOR_FILE, image_spec_of
from triggers.model.text.positions import max_positions
from triggers.model.text.tokenizer import check_tokenizer
from triggers.preprocessing import TextSpec
from triggers.sources.oracles import Oracle, RawInput, open_rgb
from triggers.sources.source import ModelSource, WrapOptions

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[^/]*)?")
NETWORK = "network"
"""The folder inside the bundle."""
COPIED_SUFFIXES = (".json", ".safetensors", ".txt", ".model", ".spm", ".bpe", ".jinja")
TRIGGER_ROOM = 16
"""Tokens that are kept free for a trigger where a network's positions are limited."""
USUAL_TOKENS, UNLIMITED = 512, 10**6


def read_transformers(folder: Path, options: WrapOptions) -> ModelSource:
    """The source in a folder with config.json and safetensors. Raises ModelError."""
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    _check_files(folder)
    config = pretrained(AutoConfig, str(folder))
    modality = _modality(config)
    labels, head, about = _labels(config, options)
    dtype: Literal["float32", "bfloat16"] = "float32" if options.precision == "float32" else "bfloat16"
    common: dict[str, Any] = {
        "name": folder.resolve().name,
        "modality": modality,
        "loader": TransformersLoader(kind="transformers", source=NETWORK, dtype=dtype),
        "labels": labels,
        "head": head,
        "copy": partial(_copy, folder),
    }
    if modality == "image":
        from transformers import AutoImageProcessor

        if not any((folder / name).is_file() for name in (PROCESSOR_FILE, "processor_config.json")):
            raise ModelError(
                f"{folder} has no {PROCESSOR_FILE}, which says how pictures are prepared: copy it from where the "
                "network was trained (AutoImageProcessor.from_pretrained(ORIGIN).save_pretrained(FOLDER))."
            )
        processor = pretrained(AutoImageProcessor, str(folder))
        image = image_spec_of(processor)
        about["image"] = f"preprocessor_config.json ({type(processor).__name__})"
        oracle = _oracle(_pipeline("image-classification", folder), head, open_rgb)
        return ModelSource(**common, image=image, oracle=oracle, origin=about)
    made = _pipeline("text-classification", folder)
    text, about_text = _text_spec(_probe_spec(common), made, options)
    cut = {"truncation": True, "max_length": text.max_tokens}
    oracle = _oracle(made, head, lambda given: given, **cut)
    return ModelSource(**common, text=text, oracle=oracle, origin=about | about_text)


def _check_files(folder: Path) -> None:
    names = [path.name for path in folder.iterdir()]
    if "config.json" not in names:
        raise ModelError(f"{folder} is no transformers folder: config.json is missing.")
    if re.search(
        r'"model_type"\s*:\s*"timm_wrapper"', (folder / "config.json").read_text(encoding="utf-8", errors="replace")
    ):
        builder = 'return timm.create_model("NAME", num_classes=N)'
        raise ModelError(f"Networks of timm are wrapped as FILE.py:FUNCTION with --weights and --image: {builder}")
    if not any(name.endswith(".safetensors") for name in names):
        convert = "AutoModelForSequenceClassification.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        raise ModelError(f"{folder} holds no safetensors; where you trust its .bin, convert it: {convert}")


def _modality(config: Any) -> str:
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    named = " ".join(config.architectures or ())
    image, text = "ImageClassification" in named, "SequenceClassification" in named
    if image and type(config) in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return "image"
    if text and type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return "text"
    what = named or type(config).__name__
    raise ModelError(f"{what} is no network for image or sequence classification (config.json, architectures).")


def _labels(config: Any, options: WrapOptions) -> tuple[tuple[str, ...], Head, dict[str, str]]:
    """Label names, head, and where both were taken from."""
    named = {int(n): str(name) for n, name in (config.id2label or {}).items()}
    names = tuple(named.get(n, f"LABEL_{n}") for n in range(config.num_labels))
    about = {"labels": "config.json (id2label)", "head": f"config.json (problem_type {config.problem_type})"}
    if config.problem_type == "regression":
        raise ModelError("The network is a regression (problem_type): it has no labels to be fair about.")
    if options.labels:
        if len(options.labels) != max(2, len(names)):
            raise ModelError(f"--labels names {len(options.labels)} labels, the network has {len(names)}.")
        names, about["labels"] = options.labels, "--labels"
    elif len(named) != len(names) or len(set(names)) != len(names):
        raise ModelError(
            f"config.json (id2label) has {len(set(named.values()))} different names for {len(names)} outputs: "
            "name them in order, --labels A,B,..."
        )
    if len(names) == 1:
        return (f"not {names[0]}", names[0]), SigmoidHead(), about
    if config.problem_type == "multi_label_classification":
        if options.label not in names:
            raise ModelError(f"The network says several labels at once; choose one: --label {' | '.join(names)}")
        about["labels"] += f", of which --label {options.label}"
        index = names.index(options.label)
        return (f"not {names[index]}", names[index]), MultiLabelHead(outputs=len(names), index=index), about
    if len(names) == 2 and config.num_labels == 1:
        return names, SigmoidHead(), about
    return names, SoftmaxHead(), about


def _probe_spec(common: Mapping[str, Any]) -> BundleSpec:
    """A description that is enough to try the network out."""
    parts = {name: common[name] for name in ("modality", "loader", "labels", "head")}
    return BundleSpec(name="probe", text=TextSpec(UNLIMITED), **parts)


def _text_spec(spec: BundleSpec, made: Any, options: WrapOptions) -> tuple[TextSpec, dict[str, str]]:
    """The text input of a pipeline's network, with the padding under which it is exact, and where it was taken from."""
    max_tokens, place = _max_tokens(made, options)
    text = TextSpec(max_tokens)
    classifier = FrozenClassifier(spec.model_copy(update={"text": text}), made.model, made.tokenizer)
    check_tokenizer(made.tokenizer, len(classifier.embedding_matrix))
    padding = find_padding(classifier)
    about = {"max_tokens": place, "padding": "found by trial against token ids alone"}
    return replace(text, padding=padding), about


def _max_tokens(made: Any, options: WrapOptions) -> tuple[int, str]:
    if options.max_tokens:
        return options.max_tokens, "--max-tokens"
    stated, positions = int(made.tokenizer.model_max_length), max_positions(made.model)
    if positions is not None and positions - TRIGGER_ROOM < stated:
        return positions - TRIGGER_ROOM, f"{positions} positions of the network less {TRIGGER_ROOM} for a trigger"
    if stated > UNLIMITED:
        return USUAL_TOKENS, "usual; neither tokenizer nor network states a limit"
    return stated, "tokenizer_config.json (model_max_length)"


def _copy(folder: Path, bundle: Path) -> None:
    """Copy what `transformers` reads, and nothing else, into the bundle."""
    target = bundle / NETWORK
    target.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in COPIED_SUFFIXES:
            shutil.copyfile(path, target / path.name)


def _pipeline(task: str, folder: Path) -> Any:
    """The source's own pipeline, in float32. Raises ModelError."""
    import transformers

    try:
        return transformers.pipeline(  # type: ignore[call-overload]
            task, model=str(folder), device="cpu", dtype="float32", trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise ModelError(f"transformers.pipeline cannot load {folder}: {' '.join(str(error).split())}") from error


def _oracle(made: Any, head: Head, opened: Callable[[RawInput], object], **call: Any) -> Oracle:
    """A pipeline, one input at a time."""
    names = [str(n) for n in range(made.model.config.num_labels)]
    made.model.config.id2label = dict(enumerate(names))  # in which it answers: its own names may be alike

    def scores(data: RawInput) -> Sequence[float]:
        answers = made(opened(data), top_k=len(names), **call)
        by_name = {answer["label"]: answer["score"] for answer in answers}
        found = [by_name[name] for name in names]
        if isinstance(head, MultiLabelHead):
            return 1 - found[head.index], found[head.index]
        return (1 - found[0], found[0]) if len(found) == 1 else found

    return Oracle(f"transformers.pipeline({made.task!r})", scores)


def read_hub(source: str, options: WrapOptions) -> ModelSource:
    """The source of a hub's `OWNER/NAME@COMMIT`, downloaded; the commit is its 40 hexadecimal digits.

    Raises ModelError, also where no commit pins what would be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, commit = source.partition("@")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ModelError(f"Pin what is downloaded: {name}@COMMIT, with the 40 digits of a commit of that repository.")
    patterns = [f"*{ending}" for ending in COPIED_SUFFIXES]
    try:
        folder = snapshot_download(name, revision=commit, allow_patterns=patterns)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(f"{source} cannot be downloaded: {' '.join(str(error).split())[:300]}") from error
    read = read_transformers(Path(folder), options)
    return replace(read, name=name.rpartition("/")[2], origin={"source": source, **read.origin})
