"""Every model of the matrix is served as its own pipeline answers, alone and in company, or refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(0)]


def test_every_model_is_served_as_its_own_pipeline_answers_or_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.soak.model_matrix", "--out", str(tmp_path / "models.json")]
    subprocess.run([*command, "--jobs", str(os.cpu_count() or 1)], check=False)
    found = json.loads((tmp_path / "models.json").read_text())
    assert [(row["name"], row["fault"]) for row in found["rows"] if row["fault"]] == []
    served = found["served"]
    assert served["transformers image"] >= 24 and served["transformers text"] >= 24 and served["torchvision"] >= 20
    assert served["onnx"] >= 1 and served["torch.export"] == 1
