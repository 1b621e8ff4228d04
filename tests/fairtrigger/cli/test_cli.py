"""The `fairtrigger` command, called as a user does: words in, text and an exit status out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from fairtrigger.cli.main import main
from tests.artifacts import image_artifact, image_trigger, manifest_for, selection
from tests.bundles import image_bundle
from triggers.artifact.artifact import TriggerArtifact, load_artifact, to_bytes
from triggers.artifact.artifact_tensors import artifact_digest
from triggers.model.classifier import FrozenClassifier
from triggers.rollout.rollout_history import Replica
from triggers.rollout.rollout_plan import Challenger, RolloutPlan, Shadow
from triggers.store.file_store import FileStore
from triggers.trigger.image import ImageTrigger

Run = Callable[..., tuple[int, str, str]]
COMMANDS = (
    "list", "show", "verify", "activate", "canary", "shadow", "twin", "guard", "rollback", "rollout", "history", "push",
    "pull", "follow",
)  # fmt: skip


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call the command; returns (status, stdout, stderr). The store is tmp_path/store unless the words name one."""
    monkeypatch.setenv("FAIRTRIGGER_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return int(ended.value.code or 0), out, err

    return call


def fails(result: tuple[int, str, str], reason: str) -> None:
    """An expected failure: status 1, nothing on stdout, one line on stderr."""
    status, out, err = result
    assert (status, out) == (1, "")
    assert err.startswith("fairtrigger: ")
    assert err.count("\n") == 1
    assert reason in err


def test_list_shows_versions_figures_and_the_champion(run: Run, filled_store: FileStore) -> None:
    filled_store.set_rollout("faces", 2, if_revision=None, actor="a", reason="")
    status, out, _ = run("list")
    assert status == 0
    patch = next(line for line in out.splitlines() if "patch" in line)
    assert re.search(r"v2 .* gap, demographic_parity .* 5 .*0.700 .* 0.100 .* 0.400 .* champion", patch)
    assert out.count("champion") == 2  # faces v2, and posts without a trigger
    assert re.search(r"faces .* none .* bare .* 0.750 .* 0.500 .* 0.500", out)
    assert "posts" not in run("list", "faces")[1]


def test_list_shows_the_latest_versions_and_says_so(run: Run, filled_store: FileStore) -> None:
    last = len(filled_store.versions("faces"))
    status, out, err = run("list", "faces", "--limit", "1")
    assert status == 0 and re.search(rf"v{last} ", out) and not re.search(rf"v{last - 1} ", out)
    assert err == f"faces: {last - 1} earlier versions are not listed; raise --limit.\n"
    assert run("list", "faces")[2] == ""
    assert [card["version"] for card in json.loads(run("list", "faces", "--limit", "1", "--json")[1])] == [last]


@pytest.fixture
def judged_store(filled_store: FileStore) -> FileStore:
    """The filled store with faces v5 certified, v6 promising and v7 not recommended."""
    promising: dict[str, object] = {
        "status": "promising",
        "loss": 0.004,
        "bound": 0.02,
        "rows": 800,
        "rows_needed": 3100,
    }
    refused: dict[str, object] = {
        "status": "not recommended",
        "reason": "The recall of [attractive] falls to .313 of the bare model's.",
    }
    for seed, fields in enumerate(({}, promising, refused)):
        filled_store.publish(image_artifact(seed=90 + seed, selection=selection(**fields)), actor="test")
    return filled_store


def test_list_and_show_say_what_the_selection_found(run: Run, judged_store: FileStore) -> None:
    out = run("list", "faces")[1]
    words = {row[2]: row[9] for line in out.splitlines() if len(row := re.split(r" *[│┃] *", line)) > 9}
    assert words["version"] == "selection"
    assert (words["none"], words["v4"]) == ("", "-")
    assert (words["v5"], words["v6"], words["v7"]) == ("certified", "promising", "not recommended")
    for version in (5, 6, 7):
        record = judged_store.version("faces", version).selection
        assert record and record.sentence in " ".join(run("show", "faces", f"v{version}")[1].split())
    assert not re.search(r"^ *selection ", run("show", "faces", "v4")[1], re.MULTILINE)
    card = json.loads(run("show", "faces", "v6", "--json")[1])
    assert card["manifest"]["selection"]["rows_needed"] == 3100


def test_an_answering_version_that_is_not_certified_is_warned_of_once(run: Run, judged_store: FileStore) -> None:
    assert run("activate", "faces", "v4")[2] == run("activate", "faces", "v5")[2] == ""
    told = run("activate", "faces", "v7")
    assert told[:2] == (0, "faces: v5 -> v7 (revision 3)\n")
    assert told[2] == (
        "Warning: faces v7 is not recommended: The recall of [attractive] falls to .313 of the bare model's.\n"
    )
    assert run("canary", "faces", "v6")[2].startswith("Warning: faces v6 is promising, not proved: loses .004 ")
    assert run("shadow", "faces", "v4")[2] == ""
    assert run("canary", "faces", "off")[2] == ""
    assert run("rollback", "faces")[2].count("faces v6 is promising") == 1


def test_only_certified_versions_answer_where_that_is_asked_for(run: Run, judged_store: FileStore) -> None:
    assert run("activate", "faces", "v6")[0] == run("activate", "faces", "none")[0] == 0
    for words in (["activate", "faces", "v4"], ["canary", "faces", "v7"], ["rollback", "faces"]):
        fails(run("--require-certified", *words), "Only certified triggers may answer, and this one is ")
        assert judged_store.history("faces")[0].action == "refuse"
    assert run("--require-certified", "activate", "faces", "v5")[0] == 0
    assert run("--require-certified", "shadow", "faces", "v7")[0] == 0


def test_list_as_json_is_the_cards(run: Run, filled_store: FileStore) -> None:
    cards = json.loads(run("list", "--json")[1])
    assert [(card["model"], card["version"]) for card in cards] == [
        *(("faces", n) for n in (1, 2, 3, 4)),
        *(("posts", n) for n in (1, 2, 3)),
    ]


def test_the_store_is_named_by_option_or_environment(run: Run, filled_store: FileStore, tmp_path: Path) -> None:
    fails(run("--store", str(tmp_path / "nowhere"), "list"), "no trigger store at")
    assert not (tmp_path / "nowhere").exists()
    assert "border" in run("--store", filled_store.url, "list")[1]
    fails(run("--store", "ftp://x/y", "list"), "ftp://x/y")


def test_show_prints_the_card(run: Run, filled_store: FileStore) -> None:
    status, out, _ = run("show", "posts", "1")
    info = filled_store.version("posts", 1)
    assert status == 0
    assert info.manifest.words
    for text in (info.digest, info.manifest.model_fingerprint, " ".join(info.manifest.words), "after_cls", "toxic"):
        assert text in out
    assert re.search(r"demographic parity difference .*0.500 \[0\.\d+, 0\.\d+\].*0.100 \[", out)
    assert out.count("200 rows") == 2


def test_show_takes_the_champion_or_else_the_latest(run: Run, filled_store: FileStore) -> None:
    assert json.loads(run("show", "faces", "--json")[1])["version"] == 4
    filled_store.set_rollout("faces", 2, if_revision=None, actor="a", reason="")
    content = json.loads(run("show", "faces", "--json")[1])
    assert (content["version"], content["champion"]) == (2, True)
    assert content["evaluation"]["test"]["trigger"]["overall"]["accuracy"]["value"] == pytest.approx(0.7)
    assert json.loads(run("show", "faces", "v1", "--json")[1])["manifest"]["kind"] == "border"


def test_show_draws_image_triggers_only(run: Run, filled_store: FileStore, tmp_path: Path) -> None:
    assert run("show", "faces", "1", "--png", "border.png")[0] == 0
    with Image.open(tmp_path / "border.png") as image:
        assert image.getpixel((128, 128)) == (128, 128, 128)
        assert image.getpixel((3, 3)) != (128, 128, 128)
    fails(run("show", "posts", "1", "--png", "words.png"), "text trigger and has no picture")
    assert not (tmp_path / "words.png").exists()


def damage(store: FileStore, model: str, version: int) -> None:
    path = store.path_of(store.version(model, version))
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def test_verify_names_what_is_wrong(run: Run, filled_store: FileStore) -> None:
    status, out, err = run("verify")
    assert (status, err) == (0, "")
    assert out.count("ok ") == 9
    damage(filled_store, "faces", 3)
    status, out, err = run("verify")
    assert status == 1
    assert "FAILED  faces v3  The file of faces v3 was altered" in out
    assert out.count("ok ") == 8
    assert err == "fairtrigger: 1 of these checks failed.\n"
    assert run("verify", "posts")[0] == 0
    assert run("verify", "faces", "v1")[0] == 0
    assert run("verify", "faces", "v3")[0] == 1


def test_verify_against_a_model(run: Run, filled_store: FileStore, tmp_path: Path) -> None:
    same, other = image_bundle(tmp_path / "same"), image_bundle(tmp_path / "other", seed=1)
    assert run("verify", "faces", "--model-bundle", str(same))[0] == 0
    status, out, _ = run("verify", "faces", "--model-bundle", str(other))
    assert status == 1
    assert out.count("FAILED  faces v") == 4
    assert "model fingerprint" in out
    fails(run("verify", "faces", "--model-bundle", str(tmp_path)), "no model bundle")


def test_activate_and_rollback(run: Run, filled_store: FileStore) -> None:
    assert (
        run("activate", "faces", "v1", "--reason", "first", "--actor", "ann")[1] == "faces: none -> v1 (revision 1)\n"
    )
    assert run("activate", "faces", "2", "--if-revision", "1")[1] == "faces: v1 -> v2 (revision 2)\n"
    fails(run("activate", "faces", "3", "--if-revision", "1"), "at revision 2, not 1")
    assert run("rollback", "faces", "--reason", "worse")[1] == "faces: v2 -> v1 (revision 3)\n"
    assert run("activate", "faces", "none")[1] == "faces: v1 -> none (revision 4)\n"
    newest, *_, first = [entry for entry in filled_store.history("faces") if entry.action != "publish"]
    assert (first.actor, first.reason) == ("ann", "first")
    assert re.fullmatch(r".+@.+", newest.actor)
    fails(run("activate", "faces", "v9"), "no trigger v9; it has v1 to v4")
    fails(run("activate", "face", "v1"), "no model 'face'; it has: faces, posts")
    fails(run("rollback", "posts"), "nothing to roll back to")


def test_a_guard_is_checked_before_it_is_kept(run: Run, filled_store: FileStore) -> None:
    for text, message in (('{"max_disparity": 2}', "max_disparity is 2"), ("{}", "sets no limit"), ("{", "no JSON")):
        status, _, error = run("guard", "faces", text)
        assert status == 1 and message in error
    rules = {"max_disparity": 0.1, "action": "alarm"}
    assert run("guard", "faces", json.dumps(rules))[1].endswith("guarded (revision 1)\n")
    assert filled_store.rollout("faces").plan.guard == rules
    assert run("guard", "faces", "off")[0] == 0 and filled_store.rollout("faces").plan.guard is None


def test_canary_shadow_twin_and_back(run: Run, filled_store: FileStore) -> None:
    run("activate", "faces", "v1")
    assert run("canary", "faces", "v2", "--share", "0.05")[1] == "faces: v1 -> v1, v2 on 5% (revision 2)\n"
    assert run("shadow", "faces", "v3", "4", "--share", "0.5")[1].endswith(
        "v2 on 5%, shadows v3 v4 on 50% (revision 3)\n"
    )
    assert run("twin", "faces", "0.01", "--reason", "look")[1].endswith("on 50%, twins on 1% (revision 4)\n")
    assert filled_store.rollout("faces").plan == RolloutPlan(1, Challenger(2, 0.05), Shadow((3, 4), 0.5), 0.01)
    assert run("activate", "faces", "v2")[1] == "faces: v1 -> v2, shadows v3 v4 on 50%, twins on 1% (revision 5)\n"
    assert run("rollback", "faces")[1].startswith("faces: v2 -> v1, v2 on 5%, shadows")
    assert run("canary", "faces", "none", "--share", "1")[1].startswith("faces: v1 -> v1, none on 100%, shadows")
    run("canary", "faces", "off")
    assert run("shadow", "faces", "off")[1] == "faces: v1 -> v1, twins on 1% (revision 9)\n"
    run("canary", "faces", "v3")
    assert re.search(r"v3 .* challenger", run("list", "faces")[1])
    run("rollback", "faces")
    assert "v1 -> v1, v2 on 5%, shadows v3 v4 on 50%, twins on 1%" in run("history", "faces")[1]
    fails(run("canary", "faces", "v1"), "the same version")
    fails(run("canary", "faces", "v9"), "no trigger v9")
    fails(run("shadow", "faces", "v2", "--if-revision", "3"), "at revision 11, not 3")
    assert run("canary", "faces", "v2", "--share", "1.5")[0] == 2
    assert filled_store.rollout("faces").revision == 11
    filled_store.verify_history("faces")


def test_a_challenger_that_does_not_verify_is_refused(run: Run, filled_store: FileStore) -> None:
    damage(filled_store, "faces", 2)
    for words in (("canary", "faces", "v2"), ("shadow", "faces", "v1", "v2")):
        fails(run(*words), "faces v2 was altered")
        assert filled_store.history("faces")[0].action == "refuse"
    assert filled_store.rollout("faces").revision == 0


def test_rollout_shows_who_serves_and_where(run: Run, filled_store: FileStore) -> None:
    run("activate", "faces", "v1")
    run("canary", "faces", "v2")
    filled_store.report("faces", Replica("alpha", 2, 1), ttl_seconds=60)
    filled_store.report("faces", Replica("beta", 1, 1, "v2 was altered", 2), ttl_seconds=60)
    status, out, _ = run("rollout", "faces")
    assert status == 0 and "faces, revision 2: v1, v2 on 5%" in out
    assert re.search(r"alpha .* 2 .* v1 ", out) and re.search(r"beta .* 1 .* behind: v2 was altered", out)
    told = json.loads(run("rollout", "faces", "--json")[1])
    assert told["plan"]["challenger"] == {"version": 2, "share": 0.05}
    assert [each["name"] for each in told["replicas"]] == ["alpha", "beta"]


def test_what_does_not_verify_is_not_activated_and_the_history_says_why(run: Run, filled_store: FileStore) -> None:
    filled_store.set_rollout("faces", 2, if_revision=None, actor="a", reason="")
    filled_store.set_rollout("faces", 1, if_revision=None, actor="a", reason="")
    damage(filled_store, "faces", 2)
    fails(run("activate", "faces", "v2", "--actor", "ann"), "faces v2 was altered")
    fails(run("rollback", "faces", "--actor", "bob"), "faces v2 was altered")
    assert filled_store.rollout("faces").champion == 1
    told = [(entry.actor, entry.action, entry.to_version) for entry in filled_store.history("faces", 2)]
    assert told == [("bob", "refuse", 2), ("ann", "refuse", 2)]
    assert "was altered" in filled_store.history("faces")[0].reason


def test_a_trigger_of_another_model_is_not_activated(run: Run, filled_store: FileStore, tmp_path: Path) -> None:
    other = image_bundle(tmp_path / "other", seed=1)
    fails(run("activate", "faces", "1", "--model-bundle", str(other)), "made for model fingerprint")
    assert filled_store.history("faces")[0].action == "refuse"
    assert filled_store.rollout("faces").revision == 0


def test_history_as_table_and_json(run: Run, filled_store: FileStore) -> None:
    run("activate", "faces", "v1", "--reason", "because [bold]I[/] can")
    status, out, _ = run("history", "faces", "--limit", "2")
    assert status == 0
    assert "none -> v1" in out
    assert "because [bold]I[/] can" in out
    assert out.count("publish") == 1
    entries = json.loads(run("history", "faces", "--json")[1])
    assert [entry["seq"] for entry in entries] == [5, 4, 3, 2, 1]
    assert (entries[0]["from"], entries[0]["to"]) == (None, 1)
    fails(run("history", "nobody"), "no model 'nobody'")


def test_pull_and_push_carry_a_trigger_to_another_store(run: Run, filled_store: FileStore, tmp_path: Path) -> None:
    assert run("pull", "faces", "v3")[1] == "faces-v3.safetensors\n"
    fails(run("pull", "faces", "v3"), "exists; choose another name")
    assert run("pull", "faces", "v3", "--force")[0] == 0
    assert run("pull", "faces", "3", "-o", "mine.st")[0] == 0
    digest = filled_store.version("faces", 3).digest
    assert load_artifact(tmp_path / "mine.st").digest == digest
    other = str(tmp_path / "other-store")
    assert run("--store", other, "push", "mine.st", "--reason", "hello")[1] == f"faces v1  {digest}\n"
    assert run("--store", other, "push", "mine.st")[1] == f"faces v1  {digest}\n"
    assert run("--store", other, "verify")[0] == 0
    fails(run("push", "missing.st"), "missing.st cannot be read")
    damage(filled_store, "faces", 1)
    fails(run("pull", "faces", "v1", "-o", "bad.st"), "was altered")
    assert not (tmp_path / "bad.st").exists()


def with_nan() -> bytes:
    trigger = image_trigger("overlay")
    assert isinstance(trigger, ImageTrigger)
    trigger.delta[0, 0, 0] = torch.nan
    manifest = manifest_for(trigger)
    return to_bytes(TriggerArtifact(trigger, manifest, artifact_digest(trigger, manifest)))


REFUSED: dict[str, tuple[Callable[[], bytes], list[str], str, str | None]] = {
    "NaN": (with_nan, [], "delta holds NaN", "faces"),
    "cut short": (lambda: to_bytes(image_artifact())[:-5], [], "cut short", "faces"),
    "altered": (lambda: to_bytes(image_artifact())[:-1] + b"!", [], "altered", "faces"),
    "junk, model named": (lambda: b"junk", ["--model", "posts"], "no safetensors", "posts"),
    "junk": (lambda: b"junk" * 9, [], "no safetensors", None),
    "for another model": (
        lambda: to_bytes(image_artifact()),
        ["--model", "posts"],
        "for model 'faces', not 'posts'",
        "posts",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_file_is_not_stored_and_the_history_says_why(
    case: str, run: Run, filled_store: FileStore, tmp_path: Path
) -> None:
    make, options, reason, model = REFUSED[case]
    (tmp_path / "bad.st").write_bytes(make())
    before = {name: filled_store.history(name) for name in ("faces", "posts")}
    fails(run("push", "bad.st", *options), reason)
    for name, entries in before.items():
        new = filled_store.history(name)[: len(filled_store.history(name)) - len(entries)]
        assert [(entry.action, entry.to_version, entry.detail["file"]) for entry in new] == (
            [("refuse", None, "bad.st")] if name == model else []
        )
        assert all(reason in entry.reason for entry in new)
        assert filled_store.verify_history(name) == len(entries) + len(new)


def test_push_checks_against_a_model(run: Run, image_model: FrozenClassifier, tmp_path: Path) -> None:
    (tmp_path / "a.st").write_bytes(to_bytes(image_artifact()))
    bundle = image_bundle(tmp_path / "bundle")
    fails(run("push", "a.st", "--model-bundle", str(bundle)), image_model.fingerprint)


@pytest.mark.parametrize(
    "words",
    [
        ["activate", "faces", "latest"],
        ["activate", "faces", "v0"],
        ["pull", "faces", "-1"],
        ["show"],
        ["dance"],
        ["list", "--x"],
    ],
)
def test_a_wrong_command_line_ends_with_2(words: list[str], run: Run, filled_store: FileStore) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert "Usage: fairtrigger" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example_that_uses_real_options(command: str, run: Run) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0
    text = " ".join(out.split())
    assert f"Usage: fairtrigger {command}" in text
    example = re.search(r"Example: (fairtrigger .*)", text)
    assert example
    for option in re.findall(r"(?<!\S)--[a-z-]+", example[1]):
        assert text.count(option) > 1 or option == "--store"


def test_the_empty_store_says_how_to_fill_it(run: Run, tmp_path: Path) -> None:
    FileStore(tmp_path / "store").close()
    assert "push FILE" in run("list")[1]
    fails(run("show", "faces"), "no model 'faces'; it has: none yet")


@pytest.mark.process
def test_the_real_process(filled_store: FileStore) -> None:
    command = [sys.executable, "-m", "fairtrigger", "--store", str(filled_store.folder), "pull", "faces", "v77"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fairtrigger: Model 'faces' has no trigger v77; it has v1 to v4.\n"


def test_check_shows_what_every_check_saw(run: Run, tmp_path: Path) -> None:
    folder = image_bundle(tmp_path / "model")
    status, out, err = run("check", str(folder))
    assert (status, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines()[:-1]] == [
        ["ok", name] for name in ("weights", "labels", "head", "processor", "outputs", "batches")
    ]
    assert out.endswith("source     never compared with any\n")
    record = {"oracle": "transformers.pipeline", "inputs": 24, "largest_difference": 2.1e-7, "flips": 0}
    edit_spec(folder, comparison=record)
    assert (
        "compared with transformers.pipeline on 24 inputs: largest difference 2e-07, 0 flips"
        in run("check", str(folder))[1]
    )
    edit_spec(folder, comparison=record | {"flips": 1, "accepted": True})
    assert "NOT THE SAME AS ITS SOURCE, which was accepted: " in run("check", str(folder))[1]


def test_check_of_a_bundle_that_would_not_be_served(run: Run, tmp_path: Path) -> None:
    folder = image_bundle(tmp_path / "model")
    edit_spec(folder, labels=["a", "b", "c"])
    status, out, err = run("check", str(folder))
    assert status == 1 and "1 of these checks failed: 'faces' would not be served" in err
    assert "FAILED  outputs    The network has 2 outputs for 3 labels and a softmax head." in out


def edit_spec(folder: Path, **change: object) -> None:
    file = folder / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
