"""`fairtrigger wrap`, called as a user does: what it took from where, and how far the bundle is from its source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fairtrigger.cli.main import main
from tests.model_folders import bert_folder, resnet_folder, toxicity_folder
from triggers.model.bundle import read_spec
from triggers.sources.builtin_inputs import builtin_images

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call `fairtrigger wrap` in tmp_path; returns (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["wrap", *words])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def fails(result: tuple[int, str, str], reason: str) -> None:
    """An expected failure: status 1, nothing on stdout, one line on stderr."""
    status, out, err = result
    assert (status, out) == (1, "") and err.startswith("fairtrigger: ") and err.count("\n") == 1
    assert reason in err


def test_a_folder_is_wrapped_by_one_word(run: Run, tmp_path: Path) -> None:
    resnet_folder(tmp_path / "Faces")
    (tmp_path / "own").mkdir()
    for n, data in enumerate(builtin_images(3, seed=9)):
        (tmp_path / "own" / f"{n}.img").write_bytes(data)
    status, out, _ = run("Faces", "--inputs", "own", "--threshold", "0.6")
    assert status == 0
    assert "labels       config.json (id2label)" in out
    assert "image        preprocessor_config.json (ConvNextImageProcessor)" in out
    assert "compared     27 inputs, alone and in mixed batches, with transformers.pipeline" in out
    assert "0 labels differ" in out and "warning" not in out
    assert out.endswith("models/Faces: model 'faces', plain, attractive; selected is 'attractive'\n")
    assert read_spec(tmp_path / "models" / "Faces").threshold == 0.6
    fails(run("Faces"), "exists already; choose another with --out")


def test_agreement_of_scores_that_hardly_differ_is_said_to_prove_little(run: Run, tmp_path: Path) -> None:
    resnet_folder(tmp_path / "faces", sharpness=1e-4)
    status, out, _ = run("faces")
    assert status == 0
    assert "warning      scores of 'attractive' differ by only" in out and "--inputs PATH" in out


def test_texts_and_one_label_of_several(run: Run, tmp_path: Path) -> None:
    toxicity_folder(tmp_path / "posts")
    (tmp_path / "own.txt").write_text("the good cat\n\nnot naïve\n", encoding="utf-8")
    words = (
        "posts",
        "--label",
        "insult",
        "--inputs",
        "own.txt",
        "--out",
        "b",
        "--name",
        "My Posts",
        "--max-tokens",
        "20",
    )
    status, out, _ = run(*words)
    assert status == 0 and "compared     26 inputs" in out and "max_tokens   --max-tokens" in out
    spec = read_spec(tmp_path / "b")
    assert spec.name == "my-posts" and spec.labels == ("not insult", "insult")
    assert spec.text and spec.text.max_tokens == 20


def test_what_is_asked_for_wrongly_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    bert_folder(tmp_path / "posts")
    (tmp_path / "list.json").write_text(json.dumps([1]))
    fails(run("posts", "--positive", "rude"), "--positive 'rude' is none of the labels: LABEL_0, LABEL_1.")
    fails(run("posts", "--inputs", "absent"), "--inputs absent: give a folder of image files, or a UTF-8 file")
    fails(run("posts", "--threshold", "2"), "threshold")
    fails(run("nothing"), "'nothing' is none of: a transformers folder")
    fails(run("posts", "--image", "list.json"), "--image list.json: a JSON object is needed")
    fails(run("posts", "--head", "{"), "--head {: give a JSON object, or the file that holds it")
    fails(run("posts", "--arguments", "absent.json"), "--arguments absent.json: give a JSON object")
    assert not (tmp_path / "models").exists()


def test_inputs_that_are_no_images_are_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    resnet_folder(tmp_path / "faces")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("no image")
    fails(run("faces", "--inputs", "own"), "Input 24 of the comparison is refused")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    bert_folder(tmp_path / "posts")
    fails(run("posts", "--inputs", "latin.txt"), "--inputs latin.txt is no UTF-8")
