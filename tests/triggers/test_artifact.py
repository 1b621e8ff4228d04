"""Artifacts: what is written is read again, and whatever is wrong with a file is refused for the right reason."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from tests.artifacts import (
    IMAGE_KINDS,
    PROVENANCE,
    TEXT_KINDS,
    image_artifact,
    image_trigger,
    manifest_for,
    text_artifact,
)
from triggers.artifact import (
    MAX_BYTES,
    METADATA_KEY,
    TriggerArtifact,
    claimed_model,
    digest_of,
    dump,
    load_artifact,
    read_limited,
    save_artifact,
)
from triggers.errors import ArtifactCorrupt, ArtifactUnsupported, NotFound
from triggers.image import ImageTrigger
from triggers.manifest import ObjectiveRecord
from triggers.text import TextTrigger

Papers = dict[str, Any]


def all_kinds() -> list[TriggerArtifact]:
    return [*(image_artifact(kind) for kind in IMAGE_KINDS), *(text_artifact(kind) for kind in TEXT_KINDS)]


@pytest.mark.parametrize("artifact", all_kinds(), ids=lambda artifact: artifact.manifest.kind)
def test_what_is_saved_is_loaded_again(artifact: TriggerArtifact, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_artifact(artifact, path)
    again = load_artifact(path)
    assert (again.manifest, again.digest) == (artifact.manifest, artifact.digest)
    assert dump(again) == path.read_bytes()
    for field in dataclasses.fields(artifact.trigger):
        ours, theirs = getattr(artifact.trigger, field.name), getattr(again.trigger, field.name)
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs


def test_the_null_triggers_are_artifacts_too() -> None:
    for trigger in (ImageTrigger.none(3, 8), TextTrigger.none(16)):
        image = isinstance(trigger, ImageTrigger)
        manifest = manifest_for(trigger, modality="image" if image else "text", model="none")
        sealed = TriggerArtifact(trigger, manifest, digest_of(trigger, manifest))
        assert load_artifact(dump(sealed)).digest == sealed.digest


def test_the_digest_leaves_out_the_provenance_and_nothing_else() -> None:
    trigger = image_trigger("border")
    manifest = manifest_for(trigger)
    digest = digest_of(trigger, manifest)
    other_day = PROVENANCE.model_copy(update={"created_at": "2030", "device": "cuda", "config": {"a": 1}})
    assert digest_of(trigger, manifest.model_copy(update={"provenance": other_day})) == digest
    changes: dict[str, Any] = {
        "model": "other",
        "geometry": manifest.geometry | {"note": "x"},
        "value_range": (0.0, 0.5),
        "model_fingerprint": "sha256:" + "1" * 64,
        "preprocessing_fingerprint": "sha256:" + "1" * 64,
        "labels": ("a", "b"),
        "pos_label": 0,
        "groups": ("x",),
        "objective": ObjectiveRecord(name="gap", criterion="demographic_parity", strength=5.5),
        "seed": 7,
        "steps": 11,
        "evaluation": manifest.evaluation[1:],
        "parent": 3,
    }
    digests = {digest_of(trigger, manifest_for(trigger, **{name: value})) for name, value in changes.items()}
    assert len(digests | {digest}) == len(changes) + 1
    assert digest_of(image_trigger("border", seed=1), manifest) not in digests | {digest}


def test_nan_is_refused_although_its_digest_is_right() -> None:
    """Whoever made it signed for it, and it would still answer nonsense."""
    trigger = image_trigger("overlay")
    assert isinstance(trigger, ImageTrigger)
    trigger.delta[0, 0, 0] = torch.nan
    manifest = manifest_for(trigger)
    with pytest.raises(ArtifactCorrupt, match="delta holds NaN"):
        load_artifact(dump(TriggerArtifact(trigger, manifest, digest_of(trigger, manifest))))


def rewritten(artifact: TriggerArtifact, edit: Callable[[Papers], Any]) -> bytes:
    """The artifact's file with its papers edited as JSON; the digest stays."""
    data = dump(artifact)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    papers = json.loads(header["__metadata__"][METADATA_KEY])
    edit(papers)
    return save(load(data), {METADATA_KEY: json.dumps(papers)})


WRONG_PAPERS: dict[str, tuple[Callable[[Papers], Any], str]] = {
    "digest of something else": (lambda p: p.update(digest="sha256:" + "0" * 64), "it was altered"),
    "another seed": (lambda p: p["manifest"].update(seed=4), "it was altered"),
    "no digest": (lambda p: p.pop("digest"), "manifest and its digest"),
    "no manifest": (lambda p: p.pop("manifest"), "manifest and its digest"),
    "no format": (lambda p: p["manifest"].pop("format"), "format is None"),
    "format as text": (lambda p: p["manifest"].update(format="1"), "format is '1'"),
    "format true": (lambda p: p["manifest"].update(format=True), "format is True"),
    "unknown field": (lambda p: p["manifest"].update(colour="red"), "colour"),
    "missing field": (lambda p: p["manifest"].pop("seed"), "seed"),
    "number as text": (lambda p: p["manifest"].update(seed="0"), "seed"),
    "bad model name": (lambda p: p["manifest"].update(model="../evil"), "model"),
    "bad fingerprint": (lambda p: p["manifest"].update(model_fingerprint="md5:1"), "model_fingerprint"),
    "negative count": (lambda p: p["manifest"]["evaluation"][0].update(count=-1), "count"),
    "label out of range": (lambda p: p["manifest"]["evaluation"][0].update(label=2), "label index 2"),
    "counted twice": (lambda p: p["manifest"]["evaluation"].append(p["manifest"]["evaluation"][0]), "twice"),
    "infinite strength": (
        lambda p: p["manifest"]["objective"].update(strength=1e999),
        "Infinity is not a finite number",
    ),
    "inner as text": (lambda p: p["manifest"]["geometry"].update(inner="12"), "inner = '12'"),
}


@pytest.mark.parametrize("case", WRONG_PAPERS)
def test_wrong_papers_are_refused_with_their_reason(case: str) -> None:
    edit, reason = WRONG_PAPERS[case]
    with pytest.raises(ArtifactCorrupt, match=reason):
        load_artifact(rewritten(image_artifact(), edit))


def test_an_unknown_format_is_unsupported_not_corrupt() -> None:
    with pytest.raises(ArtifactUnsupported, match="format 2, this release reads 1"):
        load_artifact(rewritten(image_artifact(), lambda papers: papers["manifest"].update(format=2, brand_new=True)))


def with_tensors(artifact: TriggerArtifact, **change: torch.Tensor | None) -> bytes:
    data = dump(artifact)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors = {name: tensor for name, tensor in (load(data) | change).items() if tensor is not None}
    return save(tensors, header["__metadata__"])


WRONG_TENSORS: dict[str, tuple[dict[str, torch.Tensor | None], str]] = {
    "one missing": ({"keep": None}, r"holds tensors \['delta'\]"),
    "one too many": ({"extra": torch.zeros(1)}, "extra"),
    "float64": ({"delta": torch.zeros(3, 16, 16, dtype=torch.float64)}, "F64"),
    "bfloat16": ({"delta": torch.zeros(3, 16, 16, dtype=torch.bfloat16)}, "BF16"),
    "changed values": ({"delta": torch.zeros(3, 16, 16)}, "it was altered"),
    "changed shape": ({"delta": torch.zeros(3, 8, 32)}, "it was altered"),
}


@pytest.mark.parametrize("case", WRONG_TENSORS)
def test_wrong_tensors_are_refused_with_their_reason(case: str) -> None:
    change, reason = WRONG_TENSORS[case]
    with pytest.raises(ArtifactCorrupt, match=reason):
        load_artifact(with_tensors(image_artifact(), **change))


def framed(header: bytes, rest: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + rest


METADATA = b'{"__metadata__":{"fairtrigger":%s}}'
WRONG_BYTES = {
    "empty": (b"", "cut short"),
    "seven bytes": (b"1234567", "no safetensors"),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94", "no safetensors"),
    "a huge header": ((5 * 2**20).to_bytes(8, "little"), "header claims 5242880"),
    "a header cut short": ((100).to_bytes(8, "little") + b"{}", "header alone needs 108"),
    "no JSON": (framed(b"{nope}"), "header is not valid JSON"),
    "no text": (framed(b"\xff\xfe{}"), "header is not valid JSON"),
    "a list": (framed(b"[]"), "JSON list"),
    "a repeated key": (framed(b'{"a":1,"a":2}'), "repeated"),
    "JSON as deep as a well": (framed(b"[" * 200_000), "header is not valid JSON"),
    "no metadata": (framed(b"{}"), "no trigger artifact"),
    "metadata of others": (framed(b'{"__metadata__":{"format":"pt"}}'), "no trigger artifact"),
    "papers that are no JSON": (framed(METADATA % b'"oops"'), "metadata is not valid JSON"),
    "papers with NaN": (framed(METADATA % b'"{\\"digest\\":NaN}"'), "NaN is not a finite number"),
    "papers with infinity": (framed(METADATA % b'"{\\"digest\\":1e999}"'), "1e999 is not a finite number"),
}


@pytest.mark.parametrize("case", WRONG_BYTES)
def test_bytes_that_are_no_artifact_are_refused_with_their_reason(case: str) -> None:
    data, reason = WRONG_BYTES[case]
    with pytest.raises(ArtifactCorrupt, match=reason):
        load_artifact(data)


TENSOR = b'{"dtype":"F32","shape":[0],"data_offsets":%s}'
OFFSETS = {
    "three": b"[0,0,0]",
    "one": b"[0]",
    "a text": b'"01"',
    "a text at the end": b'[0,"1"]',
    "a fraction at the end": b"[0,0.5]",
    "null": b"null",
}


@pytest.mark.parametrize("entry", [*(TENSOR % each for each in OFFSETS.values()), b"[]"])
def test_malformed_offsets_are_no_sign_of_a_file_that_is_cut_short(entry: bytes) -> None:
    header = b'{"__metadata__":{"format":"pt"},"keep":%s}' % entry
    with pytest.raises(ArtifactCorrupt, match="no trigger artifact"):
        load_artifact(framed(header))


def test_a_file_is_cut_short_from_the_first_byte_that_lacks() -> None:
    header = b'{"__metadata__":{"format":"pt"},"keep":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    with pytest.raises(ArtifactCorrupt, match="cut short: 3 bytes of tensors, 4 are announced"):
        load_artifact(framed(header, bytes(3)))
    with pytest.raises(ArtifactCorrupt, match="no trigger artifact"):
        load_artifact(framed(header, bytes(4)))


def test_files_too_big_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES)
        assert len(read_limited(path)) == MAX_BYTES
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ArtifactCorrupt, match=f"at most {MAX_BYTES}"):
        load_artifact(path)
    with pytest.raises(ArtifactCorrupt, match=f"at most {MAX_BYTES}"):
        load_artifact(path.read_bytes())
    with pytest.raises(NotFound, match="nowhere"):
        load_artifact(tmp_path / "nowhere")


SOUND = dump(text_artifact("hard"))


@settings(deadline=None)
@given(length=st.integers(0, len(SOUND) - 1))
def test_a_file_cut_anywhere_is_corrupt(length: int) -> None:
    with pytest.raises(ArtifactCorrupt):
        load_artifact(SOUND[:length])


@settings(deadline=None)
@given(position=st.integers(0, len(SOUND) - 1), value=st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_nothing_that_counts(position: int, value: int) -> None:
    """Only blanks and the provenance may differ unseen here; the store's hash over the whole file sees those too."""
    data = bytearray(SOUND)
    data[position] ^= value
    try:
        loaded = load_artifact(bytes(data))
    except (ArtifactCorrupt, ArtifactUnsupported):
        return
    assert loaded.digest == text_artifact("hard").digest
    assert loaded.manifest.content() == text_artifact("hard").manifest.content()


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(ArtifactCorrupt):
        load_artifact(data)


def test_the_claimed_model_of_a_broken_file() -> None:
    data = dump(image_artifact(model="faces"))
    assert claimed_model(data[:-1]) == "faces"
    assert claimed_model(data[:100]) is None
    assert claimed_model(rewritten(image_artifact(model="faces"), lambda p: p.update(digest="no"))) == "faces"
    assert claimed_model(rewritten(image_artifact(), lambda p: p["manifest"].update(model="../evil"))) is None
    assert claimed_model(b"junk") is None
