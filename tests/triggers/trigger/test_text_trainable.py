"""The simplex projection by hand and by property, and the three trainable text kinds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triggers.errors import ConfigError
from triggers.trigger.text_trainable import HardModule, TextModule, build_text_module, project

WORDS = ["[PAD]", "[CLS]", "##ing", "dog", "cat", "house", "tree", "7", "sun"]
ALLOWED = torch.tensor([word.isalpha() for word in WORDS])
MATRIX = torch.randn(len(WORDS), 6, generator=torch.Generator().manual_seed(3))


def build(kind: str, seed: int = 0, tokens: int = 3) -> TextModule:
    return build_text_module(
        kind,
        count=2,
        tokens=tokens,
        position="after_cls",
        matrix=MATRIX,
        vocabulary=WORDS,
        allowed=ALLOWED,
        seed=seed,
    )


def bisection(row: torch.Tensor) -> torch.Tensor:
    """The published projection: t with sum clip(v - t, 0, 1) = 1, by bisection in float64."""
    low, high = row.min() - 1, row.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (row - middle).clamp(0, 1).sum() > 1 else (low, middle)
    return (row - high).clamp(0, 1)


def test_projection_by_hand() -> None:
    rows = torch.tensor([[0.5, 0.2], [2.0, 1.0], [1.0, 1.0], [-1.0, 0.3], [3.0, 2.5]])
    wanted = torch.tensor([[0.5, 0.2], [1.0, 0.0], [0.5, 0.5], [0.0, 0.3], [0.75, 0.25]])
    assert torch.allclose(project(rows), wanted)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=12))
def test_projection_is_the_published_one_where_that_one_acts(values: list[float]) -> None:
    row = torch.tensor(values, dtype=torch.float64)
    projected = project(row)
    assert projected.min() >= 0 and projected.sum() <= 1 + 1e-9
    if row.clamp(min=0).sum() > 1:
        assert torch.allclose(projected, bisection(row), atol=1e-9)
    else:
        assert torch.equal(projected, row.clamp(min=0))


@pytest.mark.parametrize("kind", ["hard", "soft", "embedding"])
def test_training_moves_the_embeddings_and_stays_in_the_set(kind: str) -> None:
    module = build(kind)
    target = MATRIX[8]
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)

    def loss() -> torch.Tensor:
        return (module.render().embeddings - target).square().mean()

    before = loss().item()
    for _ in range(60):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
        module.constrain_()
    assert loss().item() < 0.2 * before
    for trigger in module.export():
        trigger.validate()
        if kind == "hard":
            assert trigger.words == ("sun", "sun", "sun") and trigger.token_ids == (8, 8, 8)
            assert torch.equal(trigger.embeddings, MATRIX[[8, 8, 8]])


def test_a_hard_trigger_has_exactly_the_words_values_and_a_gradient() -> None:
    module = build("hard")
    assert isinstance(module, HardModule)
    embeddings = module.embeddings()
    assert torch.equal(embeddings, MATRIX[module.token_ids()])
    embeddings.sum().backward()
    assert module.weight.grad is not None and module.weight.grad.abs().sum() > 0


def test_forbidden_words_are_never_chosen() -> None:
    module = build("hard")
    assert isinstance(module, HardModule)
    with torch.no_grad():
        module.weight.fill_(0.0)
        module.weight[..., 2] = 1.0  # a word piece
    module.constrain_()
    assert ALLOWED[module.token_ids()].all()


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="tokens"):
        build("soft", tokens=0)
    with pytest.raises(ConfigError, match="kind"):
        build("border")
