"""Bundles that bring or name code: none of it is run unless the operator lists its module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import image_bundle, text_bundle

pytestmark = pytest.mark.process
EVIL = """
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification
Path({mark!r}).touch()
class EvilConfig(BertConfig):
    model_type = "evil"
class Evil(BertForSequenceClassification):
    config_class = EvilConfig
"""


def served(bundle: Path, tmp: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m service` of a bundle that it shall refuse, with somebody who says yes to whatever is asked."""
    command = [sys.executable, "-m", "service", "--model", str(bundle), *options]
    command += ["--data-dir", str(tmp / "data"), "--store", str(tmp / "store"), "--port", "0"]
    told = {name: value for name, value in os.environ.items() if name != "FAIRTRIGGER_ALLOW_FACTORIES"}
    told |= {"HF_HOME": str(tmp / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        command, input="y\n" * 20, capture_output=True, text=True, timeout=100, env=told, cwd=Path(__file__).parents[2]
    )


def test_code_in_a_bundle_is_not_run_by_a_yes(tmp_path: Path) -> None:
    bundle, mark = text_bundle(tmp_path / "posts"), tmp_path / "ran"
    (bundle / "evil.py").write_text(EVIL.format(mark=str(mark)))
    path = bundle / "config.json"
    named = {"AutoConfig": "evil.EvilConfig", "AutoModelForSequenceClassification": "evil.Evil"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "evil", "auto_map": named}))
    done = served(bundle, tmp_path)
    assert not mark.exists()
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (told,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert "auto_map" in told


def test_a_factory_is_called_only_if_its_module_is_listed(tmp_path: Path) -> None:
    bundle, mark = image_bundle(tmp_path / "faces"), tmp_path / "ran"
    spec = json.loads((bundle / "model.json").read_text())
    command = {"command": f"touch {mark}"}
    spec["loader"] = {"kind": "factory", "target": "os:system", "kwargs": command}
    (bundle / "model.json").write_text(json.dumps(spec))
    done = served(bundle, tmp_path)
    assert not mark.exists()
    assert done.returncode == 2 and "--allow-factories os" in done.stderr and "Traceback" not in done.stderr
    done = served(bundle, tmp_path, "--allow-factories", "tests.bundles,ossify")
    assert not mark.exists() and done.returncode == 2
    done = served(bundle, tmp_path, FAIRTRIGGER_ALLOW_FACTORIES="os")
    assert mark.exists() and done.returncode == 2  # what it returns is no network


EVIL_TOKENIZER = """
from pathlib import Path
from transformers import PreTrainedTokenizerFast
Path({mark!r}).touch()
class EvilTokenizer(PreTrainedTokenizerFast):
    pass
"""


def test_a_tokenizer_in_a_bundle_is_not_run_by_a_yes_on_a_terminal(tmp_path: Path) -> None:
    bundle, mark = text_bundle(tmp_path / "posts"), tmp_path / "ran"
    (bundle / "evil.py").write_text(EVIL_TOKENIZER.format(mark=str(mark)))
    path = bundle / "tokenizer_config.json"
    named = {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", None]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    load = f"from triggers.model import load_bundle; load_bundle({str(bundle)!r})"
    master, terminal = os.openpty()
    os.write(master, b"y\n" * 20)
    done = subprocess.run(
        [sys.executable, "-c", load], stdin=terminal, capture_output=True, text=True, timeout=100,
        cwd=Path(__file__).parents[2], env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    os.close(terminal)
    os.close(master)
    assert not mark.exists() and "[y/N]" not in done.stdout + done.stderr
    assert done.returncode == 0 or "ModelError" in done.stderr.splitlines()[-1], done.stderr
