"""A batch of texts is cut where less padding pays for another pass, and every row keeps its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from service.config import Settings
from service.engine.execution.execution_backend import build_forward
from service.engine.execution.length_pieces import length_pieces, pass_tokens
from service.engine.execution.text_forward import TextForward
from tests.text_families import DECODERS, ENCODERS, family_bundle
from triggers.model import load_bundle
from triggers.trigger import TextTrigger

FAMILIES = ENCODERS | DECODERS


@pytest.mark.parametrize(
    ("lengths", "waste", "pieces"),
    [
        ([5, 5, 5], 0, [[0, 1, 2]]),
        ([100, 5, 6, 100], 16, [[0, 3], [2, 1]]),
        ([100, 5, 6, 100], 500, [[0, 3, 2, 1]]),
        ([5, 200, 90, 4], 16, [[1], [2], [0, 3]]),
        ([7], 0, [[0]]),
    ],
)
def test_cuts_save_more_than_they_cost(lengths: list[int], waste: int, pieces: list[list[int]]) -> None:
    assert length_pieces(lengths, waste) == pieces


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_each_row_gets_its_own_scores(family: str, tmp_path: Path) -> None:
    model = load_bundle(family_bundle(tmp_path, FAMILIES[family]))
    vectors = torch.randn(3, model.embedding_matrix.shape[1], generator=torch.Generator().manual_seed(0))
    triggers = [model.null_trigger(), TextTrigger("embedding", "after_cls", vectors)]
    items = [model.preprocess(text) for text in ("bad", "the man is good " * 9, "a woman", "sings " * 30, "good")]
    rows, widths = [0, 1, 1, 0, 1], []
    forward = build_forward(model, Settings(device="cpu"))
    assert isinstance(forward, TextForward)
    forward._pass_tokens = 0
    bound = forward.bind(triggers)
    alone = torch.cat([bound([item], [row]) for item, row in zip(items, rows, strict=True)])
    hook = model.network.register_forward_pre_hook(
        lambda _network, _given, named: widths.append(named["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    together = bound(items, rows)
    hook.remove()
    assert torch.allclose(together, alone, atol=1e-5)
    assert float((alone[0] - alone[1]).abs().max()) > 1e-3
    longest = max(len(item.ids) for item in items)  # type: ignore[union-attr]
    assert len(widths) > 1 and sum(widths) < 0.7 * len(items) * longest


def test_a_small_network_is_not_cut_and_a_large_one_is(tmp_path: Path) -> None:
    assert pass_tokens(load_bundle(family_bundle(tmp_path, ENCODERS["bert"]))) > 10_000
