"""Every figure of a written audit can be recomputed from its counts, and a signature shows who made them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairtrigger.auditing import audit, check_audit
from fairtrigger.auditing.audit_signature import document_digest
from tests.fairtrigger.auditing.decisions import LOANS, decisions, score_rows, write_csv
from triggers.artifact.signature import TRUST_ANYONE, make_keys, read_trust
from triggers.errors import ArtifactUntrusted, ConfigError, DataError


@pytest.fixture
def key(tmp_path: Path) -> Path:
    secret, public, _ = make_keys()
    (tmp_path / "auditor.key").write_bytes(secret)
    (tmp_path / "auditor.pub").write_bytes(public)
    return tmp_path / "auditor.key"


def written(tmp_path: Path, **named: Any) -> Path:
    path = write_csv(tmp_path / "loans.csv", decisions(200, unlabelled=0.1))
    audit(path, **({**LOANS, "groups": ["sex", "race"], "out": tmp_path / "out"} | named))
    return tmp_path / "out" / "audit.json"


@pytest.mark.parametrize(
    "named", [{}, {"template": "ll144", "score": "points"}, {"template": "ai-act"}, {"confidence": 0.9}]
)
def test_a_written_audit_holds(tmp_path: Path, named: dict[str, Any]) -> None:
    found = check_audit(written(tmp_path, **named), TRUST_ANYONE)
    assert found.holds and found.numbers > 500 and found.signature.startswith("not signed")


def test_a_paired_audit_holds(tmp_path: Path) -> None:
    audit(write_csv(tmp_path / "scores.csv", score_rows()), positive="toxic", out=tmp_path)
    assert check_audit(tmp_path / "audit.json", TRUST_ANYONE).holds


CHANGES: dict[str, tuple[Callable[[Any], None], str]] = {
    "a figure": (
        lambda d: d["figures"]["given"]["gaps"]["accuracy_difference"].update(value=0.0),
        "figures.given.gaps.accuracy_difference.value: 0, but the counts give",
    ),
    "a limit": (
        lambda d: d["figures"]["given"]["groups"]["race=Asian,sex=male"]["accuracy"].update(high=1.0),
        "figures.given.groups.race=Asian,sex=male.accuracy.high: 1, but",
    ),
    "a count": (lambda d: d["versions"]["given"]["counts"][0].update(n=1000), "figures.given"),
    "a cell twice": (
        lambda d: d["versions"]["given"]["counts"].append(d["versions"]["given"]["counts"][0]),
        "versions.given.counts: ",
    ),
    "a sentence": (lambda d: d["findings"].insert(0, "The model is fair."), "findings: "),
    "a caution": (lambda d: d["cautions"].clear(), "cautions: "),
    "an impact ratio": (
        lambda d: d["impact_ratios"]["given"][0]["categories"][0].update(impact_ratio=1.0),
        r"impact_ratios.given[0].categories[0].impact_ratio: 1, but",
    ),
    "the file": (lambda d: d["source"].update(name="other.csv"), "digest"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_was_changed_is_named(tmp_path: Path, case: str) -> None:
    path = written(tmp_path, template="ll144")
    document = json.loads(path.read_text())
    change, place = CHANGES[case]
    change(document)
    path.write_text(json.dumps(document))
    found = check_audit(path, TRUST_ANYONE)
    assert not found.holds
    assert any(each.startswith(place) for each in found.differences), found.differences
    assert "digest" in found.differences


def test_only_the_signature_shows_that_counts_were_not_exchanged(tmp_path: Path, key: Path) -> None:
    path = written(tmp_path, sign=key)
    trust = read_trust([tmp_path / "auditor.pub"])
    found = check_audit(path, trust)
    assert (found.holds, found.signed_by) == (True, "auditor")
    assert "was not checked" in check_audit(path, TRUST_ANYONE).signature
    signed = json.loads(path.read_text())
    other = copy.deepcopy(signed)
    other["source"]["name"] = "better.csv"
    other["digest"] = document_digest(other)
    path.write_text(json.dumps(other))
    assert check_audit(path, TRUST_ANYONE).holds
    with pytest.raises(ArtifactUntrusted, match="does not hold"):
        check_audit(path, trust)
    path.write_text(json.dumps(signed | {"signature": None}))
    assert check_audit(path, trust).signed_by is None
    with pytest.raises(ArtifactUntrusted, match="not signed"):
        check_audit(path, read_trust([tmp_path / "auditor.pub"], required=True))


def test_a_trigger_s_signature_is_none_of_an_audit(tmp_path: Path, key: Path) -> None:
    from triggers.artifact.signature import read_signer

    path = written(tmp_path)
    document = json.loads(path.read_text())
    forged = read_signer(key).sign(document["digest"])
    path.write_text(json.dumps(document | {"signature": vars(forged)}))
    with pytest.raises(ArtifactUntrusted, match="does not hold"):
        check_audit(path, read_trust([tmp_path / "auditor.pub"]))


def test_words_of_another_release_are_not_compared(tmp_path: Path) -> None:
    path = written(tmp_path)
    document = json.loads(path.read_text())
    document["software"]["version"], document["findings"] = "0.0.1", ["In other words."]
    document["digest"] = document_digest(document)
    path.write_text(json.dumps(document))
    assert check_audit(path, TRUST_ANYONE).holds


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "fairtrigger-audit/1"}', '{"format": "other/1"}'])
def test_what_is_no_audit_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "audit.json").write_text(text)
    with pytest.raises(DataError, match=r"is no (JSON|audit|whole audit)"):
        check_audit(tmp_path / "audit.json", TRUST_ANYONE)


def test_a_key_that_is_none_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.key").write_text("no key")
    with pytest.raises(ConfigError, match="cannot be read"):
        written(tmp_path, sign=tmp_path / "bad.key")
    assert not (tmp_path / "out").exists()
