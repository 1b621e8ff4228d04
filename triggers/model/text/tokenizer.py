"""A text bundle's tokenizer: loaded, fingerprinted, and checked against the network's word embeddings."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from triggers.errors import ModelError
from triggers.fingerprint import json_digest
from triggers.model.bundle import BundleSpec, TransformersLoader, pretrained, transformers_source
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.word_bank import Utf8Tokenizer

LEAST_SHARE = 0.01
"""Least share of the word embeddings that a tokenizer must have words for; an empty one has a handful of words."""


def load_tokenizer(folder: Path, spec: BundleSpec) -> Any:
    """The tokenizer of a text bundle, None for images. Raises ModelError."""
    if spec.modality != "text":
        return None
    if isinstance(spec.loader, EndpointLoader):
        return Utf8Tokenizer()
    from transformers import AutoTokenizer

    source, revision = str(folder), "main"
    if isinstance(spec.loader, TransformersLoader):
        source, revision = transformers_source(folder, spec.loader), spec.loader.revision or "main"
    tokenizer = pretrained(AutoTokenizer, source, revision=revision)
    tokenizer("", verbose=False)  # clears a truncation or padding that was saved with it, before threads use it
    return tokenizer


def tokenizer_digest(tokenizer: Any) -> str:
    """`sha256:` over all that decides a text's token ids. Raises ModelError for a tokenizer that does not say."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return json_digest(_python_rules(tokenizer) if backend is None else backend.to_str())


def _python_rules(tokenizer: Any) -> dict[str, Any]:
    """Class, settings, vocabulary and files of a tokenizer that is written in Python."""
    kind = type(tokenizer)
    try:
        with TemporaryDirectory() as folder:
            files = [Path(name) for name in tokenizer.save_vocabulary(folder, None) or ()]
            digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        vocabulary, given = tokenizer.get_vocab(), tokenizer.init_kwargs
    except (AttributeError, NotImplementedError, TypeError, OSError) as error:
        message = f"The tokenizer {kind.__name__} does not say what it does, so it has no fingerprint"
        raise ModelError(f"{message}: save a fast one (tokenizer.json) into the bundle.") from error
    named = [name for name in inspect.signature(kind.__init__).parameters if not name.endswith("_file")]
    settings = {name: given[name] for name in named if isinstance(given.get(name), bool | int | float | str)}
    specials = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    rules = {"class": kind.__name__, "settings": settings, "special": specials}
    return rules | {"vocabulary": vocabulary, "files": digests}


def check_tokenizer(tokenizer: Any, rows: int) -> None:
    """Raise ModelError unless the tokenizer has words, and none beyond the network's `rows` word embeddings.

    Fewer are usual: vocabularies are padded.
    """
    vocabulary, kind = tokenizer.get_vocab(), type(tokenizer).__name__
    if vocabulary and (highest := max(vocabulary.values())) >= rows:
        raise ModelError(f"The tokenizer {kind} has token id {highest}, the network {rows} word embeddings: {_ADVICE}")
    words = len(set(vocabulary.values()).difference(tokenizer.all_special_ids, tokenizer.added_tokens_decoder))
    if not words or words < LEAST_SHARE * rows:
        raise ModelError(f"The tokenizer {kind} knows {words} words, the network has embeddings of {rows}: {_ADVICE}")


_ADVICE = "put the tokenizer's files, which the model was trained with, into the bundle."
