"""Sources to data sets: decoded as in serving, split by content, cached."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, TEXTS, config, loader
from trainer.data.loader import DataLoader
from trainer.progress import LineProgress
from triggers.errors import DataError
from triggers.model.classifier import FrozenClassifier
from triggers.preprocessing import ImageSpec, TextBatch


def test_inputs_are_exactly_what_serving_decodes(tmp_path: Path, image_model: FrozenClassifier) -> None:
    faces.celeba(tmp_path / "celeba")
    data = loader(config(tmp_path, CELEBA))
    test = data.load(image_model, "test")
    assert isinstance(test.inputs, Tensor)
    assert test.inputs.dtype == torch.uint8
    raw = data.raw("test")
    assert [name for name, _ in raw] == list(test.ids)
    for row, (_, data_bytes) in enumerate(raw):
        assert isinstance(data_bytes, bytes)
        served = image_model.preprocess(data_bytes)
        assert isinstance(served, Tensor)
        assert torch.equal(served, test.inputs[row])


def test_a_damaged_image_is_named(tmp_path: Path, image_model: FrozenClassifier) -> None:
    folder = faces.celeba(tmp_path / "celeba")
    (folder / "img_align_celeba/000090.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"000090\.jpg: cannot be used \(not_an_image\)"):
        loader(config(tmp_path, CELEBA)).load(image_model, "test")
    (folder / "img_align_celeba/000090.jpg").unlink()
    with pytest.raises(DataError, match=r"Cannot read .*000090\.jpg"):
        loader(config(tmp_path, CELEBA))


def test_what_cannot_be_read_or_decoded_is_skipped_and_told(
    tmp_path: Path, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> None:
    folder = faces.celeba(tmp_path / "celeba")
    whole = loader(config(tmp_path, CELEBA)).load(image_model, "test")
    (folder / "img_align_celeba/000090.jpg").write_bytes(b"not an image")
    for missing in ((), (), ("000095.jpg",)):  # decoded, then from the cache, then with another image away
        said = io.StringIO()
        for name in missing:
            (folder / "img_align_celeba" / name).unlink()
        made = config(tmp_path, CELEBA, "data.on_bad_row=skip")
        data = DataLoader(made, ("no", "yes"), tmp_path / "cache", LineProgress(said))
        test = data.load(image_model, "test")
        kept = [at for at, name in enumerate(whole.ids) if name not in ("000090.jpg", *missing)]
        assert isinstance(test.inputs, Tensor) and isinstance(whole.inputs, Tensor)
        assert torch.equal(test.inputs, whole.inputs[kept])
        assert torch.equal(test.labels, whole.labels[kept])
        assert test.ids == tuple(whole.ids[at] for at in kept) == tuple(name for name, _ in data.raw("test"))
        assert len(data.contents("test")) == len(test) == 19 - len(missing)
        rows = f"1 of {100 - len(missing)} rows left out: 1 undecodable input; first 000090.jpg (cannot be used"
        assert rows in said.getvalue()
        with pytest.raises(DataError, match=r"(000090\.jpg: cannot be used|000095\.jpg: Cannot read) .*on_bad_row"):
            loader(config(tmp_path, CELEBA)).load(image_model, "test")
    assert "1 of 100 rows left out: 1 unreadable input; first 000095.jpg (Cannot read" in said.getvalue()
    (tmp_path / "posts.csv").write_text(
        "text,toxic\n" + "".join(f"woman {n},{n % 2}\n\u00ad,1\nman {n},0\n" for n in range(20))
    )
    posts = loader(config(tmp_path, TEXTS, "data.on_bad_row=skip"))
    lines = {part: posts.load(text_model, part).ids for part in ("base", "tuning", "val", "test")}
    assert sum(map(len, lines.values())) == 40


def test_copies_of_a_content_stay_in_one_part(tmp_path: Path) -> None:
    lines = ["text,toxic,group"] + [
        f"{'The  Man' if n % 2 else 'the man'} {n // 2},{n % 2},{'ab'[n % 2]}" for n in range(80)
    ]
    (tmp_path / "posts.csv").write_text("\n".join(lines))
    data = loader(config(tmp_path, TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"')))
    parts = [{int(str(text).split()[-1]) for _, text in data.raw(part)} for part in ("base", "tuning", "val", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 40


def test_decoded_parts_are_cached_and_damage_is_noticed(tmp_path: Path, image_model: FrozenClassifier) -> None:
    faces.celeba(tmp_path / "celeba")
    data = loader(config(tmp_path, CELEBA))
    first = data.load(image_model, "val")
    (file,) = (tmp_path / "cache").glob("*.npy")
    written = file.stat().st_mtime_ns
    again = loader(config(tmp_path, CELEBA)).load(image_model, "val")
    assert torch.equal(torch.as_tensor(first.inputs), torch.as_tensor(again.inputs))
    assert file.stat().st_mtime_ns == written
    torch.as_tensor(again.inputs).zero_()
    assert np.load(file).any(), "writing to the tensor must not reach the file"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(DataError, match=r"is damaged .*; delete it"):
        data.load(image_model, "val")


def test_cached_texts_are_mapped_and_as_wide_as_the_longest(tmp_path: Path, text_model: FrozenClassifier) -> None:
    (tmp_path / "posts.csv").write_text("text,toxic\n" + "\n".join(f"a man {'saw ' * n},{n % 2}" for n in range(9)))
    made = config(tmp_path, TEXTS, "data.group_words=saw", "split.base=0", "split.val=0", "split.test=0")
    for _ in range(2):
        data = loader(made)
        tuning = data.load(text_model, "tuning")
        assert isinstance(tuning.inputs, TextBatch)
        items = [text_model.preprocess(raw) for _, raw in data.raw("tuning")]
        truth = TextBatch.of([item.ids for item in items], text_model.tokenizer.pad_token_id)  # type: ignore[union-attr]
        assert tuning.inputs.ids.tolist() == truth.ids.tolist()
        assert tuning.inputs.lengths.tolist() == truth.lengths.tolist()
        assert tuning.inputs.ids.dtype == torch.int32
    (ids,) = (tmp_path / "cache").glob("*.ids.npy")
    assert np.load(ids, mmap_mode="r").shape == (9, 24)


def test_another_preprocessing_is_decoded_anew(tmp_path: Path, image_model: FrozenClassifier) -> None:
    faces.celeba(tmp_path / "celeba")
    data = loader(config(tmp_path, CELEBA))
    squashed = data.load(image_model, "val")
    image = image_model.spec.image
    assert image
    crop = ImageSpec.square(image.height, image.mean, image.std, resize="crop")
    cropping = image_model.spec.model_copy(update={"image": crop})
    cropped = data.load(FrozenClassifier(cropping, faces.network()), "val")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    assert not torch.equal(torch.as_tensor(squashed.inputs), torch.as_tensor(cropped.inputs))


def test_changed_content_is_decoded_anew(tmp_path: Path, image_model: FrozenClassifier) -> None:
    folder = faces.celeba(tmp_path / "celeba")
    loader(config(tmp_path, CELEBA)).load(image_model, "val")
    Image.new("RGB", (22, 28), (255, 0, 0)).save(folder / "img_align_celeba/000061.jpg")
    val = loader(config(tmp_path, CELEBA)).load(image_model, "val")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    red = torch.as_tensor(val.inputs)[val.ids.index("000061.jpg"), 0]
    assert int(red.min()) > 250


def test_an_empty_part_says_what_to_set(tmp_path: Path, image_model: FrozenClassifier) -> None:
    faces.celeba(tmp_path / "celeba")
    with pytest.raises(DataError, match=r"The tuning part is empty: split\.tuning is 0"):
        loader(config(tmp_path, CELEBA, "split.tuning=0")).load(image_model, "tuning")


def test_records_tell_sizes_and_truncated_texts(tmp_path: Path, text_model: FrozenClassifier) -> None:
    lines = [
        f"{'very ' * (30 if number == 0 else 1)} good man {number},{number % 2},{'ab'[number % 2]}"
        for number in range(8)
    ]
    (tmp_path / "posts.csv").write_text("\n".join(["text,toxic,group", *lines]))
    text = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"')
    said = io.StringIO()
    made = config(tmp_path, text, "split.base=0", "split.val=0", "split.test=0")
    DataLoader(made, ("no", "yes"), tmp_path / "cache", LineProgress(said)).load(text_model, "tuning")
    assert "data: base 0  tuning 8  val 0  test 0" in said.getvalue()
    assert "decode tuning: 1 of 8 texts are longer than the model reads and were cut" in said.getvalue()
    assert json.dumps(said.getvalue()).isascii()


def test_labels_are_counted_without_decoding(tmp_path: Path, image_model: FrozenClassifier) -> None:
    faces.celeba(tmp_path / "celeba")
    data = loader(config(tmp_path, CELEBA))
    counted = data.counts("val")
    assert not list((tmp_path / "cache").glob("*.npy"))
    assert counted == data.load(image_model, "val").counts()
