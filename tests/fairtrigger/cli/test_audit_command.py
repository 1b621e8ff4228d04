"""The command `audit`: from a file to pages and back to yes, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairtrigger.cli.main import main
from tests.fairtrigger.auditing.decisions import decisions, write_csv
from triggers.artifact.signature import make_keys

LOANS = ("--decision", "approved", "--truth", "repaid", "--positive", "yes")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "loans.csv", decisions(300))


def test_a_file_is_audited_signed_and_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    secret, public, name = make_keys()
    (tmp_path / "auditor.key").write_bytes(secret)
    (tmp_path / "auditor.pub").write_bytes(public)
    words = ("audit", "loans.csv", *LOANS, "--group", "sex", "--group", "ethnicity=race", "--sign", "auditor.key")
    status, out, err = run(capsys, *words, "--template", "ll144", "--period", "2025-01-01/2025-12-31", "--out", "audit")
    assert (status, err) == (0, "")
    assert "selection rate" in out and "The selection rates of groups differ by up to" in out
    assert sorted(path.name for path in Path("audit").iterdir()) == [
        "audit.csv", "audit.html", "audit.json", "audit.pdf",
    ]  # fmt: skip
    document = json.loads(Path("audit/audit.json").read_text())
    assert document["terms"]["attributes"] == ["ethnicity", "sex"] and document["signature"]["key"] == name
    status, out, err = run(capsys, "--trusted-keys", "auditor.pub", "audit", "--check", "audit/audit.json")
    assert (status, err) == (0, "") and "yes, all" in out and "signed by auditor" in out
    document["figures"]["given"]["n"] = 301
    Path("audit/audit.json").write_text(json.dumps(document))
    status, out, err = run(capsys, "audit", "--check", "audit/audit.json")
    assert (status, out) == (1, "")
    assert err.startswith("fairtrigger: audit/audit.json does not hold: figures.given.n: 301, but the counts give 300")
    assert err.count("\n") == 1


def test_json_on_stdout_is_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "audit", "loans.csv", *LOANS, "--group", "sex", "--json")
    assert status == 0 and json.loads(out)["figures"]["given"]["n"] == 300


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "Give a file of decisions"),
        (("loans.csv", "--decision", "approve"), "did you mean approved"),
        (("loans.csv", *LOANS, "--group", "sex=race", "--group", "sex"), "each name once"),
        (("nothing.csv", *LOANS), "There is no file nothing.csv"),
        (("loans.csv", "--check", "audit.json"), "give it alone"),
        (("--check", "loans.csv"), "loans.csv is no JSON"),
        (("loans.csv", *LOANS, "--group", "sex", "--template", "gdpr"), "no template 'gdpr'; there are ll144"),
        (("loans.csv", *LOANS, "--group", "sex", "--template", "ll144"), "needs one attribute race"),
        (("--live", "http://127.0.0.1:9", "--token-file", "none.txt"), "--token-file names none.txt"),
        (("loans.txt", *LOANS), "no file loans.txt"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], reason: str
) -> None:
    status, out, err = run(capsys, "audit", *words)
    assert (status, out) == (1, "")
    assert err.startswith("fairtrigger: ") and err.count("\n") == 1 and reason in err


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "audit", "--help")
    assert status == 0 and "fairtrigger audit loans.csv" in " ".join(out.split()) and "--live" in out
