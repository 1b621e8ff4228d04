"""Which trigger computes a row: mixtures, champions, leases, eviction, refusals."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from service.engine.execution.eager_forward import BoundForward, build_eager_forward
from service.engine.predictor import BatchItem, Predictor, Scored
from service.errors import Overloaded
from tests.artifacts import IMAGE_KINDS, TEXT_KINDS, artifact_for, image_artifact, text_trigger
from tests.bundles import image_bundle
from tests.service.live import picture
from triggers.artifact.artifact import TriggerArtifact, make_artifact
from triggers.artifact.manifest_checks import geometry_of, value_range_of
from triggers.errors import ArtifactMismatch, ModelError, NotFound
from triggers.model import FrozenClassifier, Item, Trigger, load_bundle
from triggers.rollout.rollout_plan import RolloutPlan, Shadow

TEXTS = ("the movie was awful", "a kind old woman sings and a young man plays", "cat")


class Shelf:
    """Artifacts by version; remembers what was fetched."""

    def __init__(self, *artifacts: TriggerArtifact) -> None:
        self.artifacts = dict(enumerate(artifacts, start=1))
        self.fetched: list[int] = []

    def __call__(self, version: int) -> TriggerArtifact:
        self.fetched.append(version)
        if version not in self.artifacts:
            raise NotFound(f"no v{version}")
        return self.artifacts[version]


def image_items(classifier: FrozenClassifier, count: int) -> list[Item]:
    return [classifier.preprocess(picture(seed)) for seed in range(count)]


def filled(classifier: FrozenClassifier, *kinds: str, max_versions: int = 8) -> tuple[Predictor, Shelf]:
    shelf = Shelf(*(artifact_for(classifier, kind, seed) for seed, kind in enumerate(kinds)))
    return Predictor(classifier, shelf, max_versions=max_versions), shelf


def close(a: Sequence[float], b: Sequence[float]) -> bool:
    return torch.allclose(torch.tensor(a), torch.tensor(b), atol=1e-5, rtol=0)


def one_by_one(predictor: Predictor, queries: Sequence[BatchItem]) -> list[Scored]:
    return [predictor.predict([query])[0] for query in queries]


def test_mixed_image_triggers_in_one_batch_answer_as_one_by_one(image_model: FrozenClassifier) -> None:
    predictor, _ = filled(image_model, *IMAGE_KINDS)
    items = image_items(image_model, 10)
    with ExitStack() as held:
        for version in (1, 2, 3, 4):
            held.enter_context(predictor.hold(version))
        queries = [BatchItem(item, (None, 1, 2, 3, 4)[n % 5], twin=n % 3 == 0) for n, item in enumerate(items)]
        together = predictor.predict(queries)
        assert [answer.version for answer in together] == [None, 1, 2, 3, 4] * 2
        for alone, mixed in zip(one_by_one(predictor, queries), together, strict=True):
            assert close(alone.scores, mixed.scores)
            assert (alone.baseline_scores is None) == (mixed.baseline_scores is None)
            assert alone.baseline_scores is None or close(alone.baseline_scores, mixed.baseline_scores or ())
        bare = predictor.predict([BatchItem(item, None) for item in items])
        assert any(not close(a.scores, b.scores) for a, b in zip(together, bare, strict=True))
        assert all(close(m.baseline_scores, b.scores) for m, b in zip(together, bare, strict=True) if m.baseline_scores)


def test_a_trigger_says_whether_its_groups_overlap(image_model: FrozenClassifier) -> None:
    shelf = Shelf(artifact_for(image_model, "border"), artifact_for(image_model, "overlay", groups_overlap=True))
    predictor = Predictor(image_model, shelf, max_versions=4)
    predictor.activate_plan(1, revision=1)
    assert not predictor.state.groups_overlap
    predictor.activate_plan(2, revision=2)
    assert predictor.state.groups_overlap
    predictor.activate_plan(None, revision=3)
    assert predictor.state.groups_overlap  # the comparison with no trigger stays one of the same groups


def test_mixed_text_triggers_of_0_3_and_5_words_answer_as_one_by_one(text_model: FrozenClassifier) -> None:
    matrix = text_model.embedding_matrix
    sealed = [artifact_for(text_model, kind, seed) for seed, kind in enumerate(TEXT_KINDS)]
    five = text_trigger("soft", 9, tokens=5, matrix=matrix)
    change = {"geometry": geometry_of(five), "value_range": value_range_of(five)}
    five_words = make_artifact(five, sealed[1].manifest.model_copy(update=change))
    predictor = Predictor(text_model, Shelf(*sealed, five_words), max_versions=8)
    with ExitStack() as held:
        for version in (1, 2, 3, 4):
            held.enter_context(predictor.hold(version))
        queries = [
            BatchItem(text_model.preprocess(text), choice, twin=True) for text in TEXTS for choice in (None, 1, 2, 3, 4)
        ]
        together = predictor.predict(queries)
        for alone, mixed in zip(one_by_one(predictor, queries), together, strict=True):
            assert close(alone.scores, mixed.scores)
            assert close(alone.baseline_scores or (), mixed.baseline_scores or ())
        assert not close(together[0].scores, together[4].scores)


def test_the_champion_is_resolved_when_the_batch_is_formed(image_model: FrozenClassifier) -> None:
    predictor, _ = filled(image_model, "border", "patch")
    query = BatchItem(image_items(image_model, 1)[0])
    assert (predictor.predict([query])[0].version, predictor.predict([query])[0].revision) == (None, 0)
    predictor.activate_plan(2, revision=7)
    answer = predictor.predict([query])[0]
    assert (answer.version, answer.revision) == (2, 7)
    assert answer.digest == predictor.state.digest(predictor.state.champion)
    predictor.activate_plan(None, revision=8)
    assert predictor.predict([query])[0].version is None


def test_the_least_recently_used_version_leaves_but_never_champion_or_held(image_model: FrozenClassifier) -> None:
    predictor, shelf = filled(image_model, "border", "patch", "overlay", "pixels", max_versions=3)
    predictor.activate_plan(1, revision=1)
    with predictor.hold(2):
        for version in (3, 4, 3):
            with predictor.hold(version):
                assert set(predictor.snapshot.rows) == {None, 1, 2, version}
    assert shelf.fetched == [1, 2, 3, 4, 3]


def test_more_versions_at_once_than_fit_are_refused_not_loaded(image_model: FrozenClassifier) -> None:
    predictor, _ = filled(image_model, "border", "patch", "overlay", max_versions=2)
    with predictor.hold(1), predictor.hold(2), pytest.raises(Overloaded, match="max_versions"), predictor.hold(3):
        pass
    with predictor.hold(3):
        assert 3 in predictor.snapshot.rows


def test_an_artifact_for_another_model_never_becomes_visible(image_model: FrozenClassifier) -> None:
    predictor = Predictor(image_model, Shelf(image_artifact("border")), max_versions=4)
    with pytest.raises(ArtifactMismatch, match="model fingerprint"):
        predictor.activate_plan(1, revision=1)
    assert set(predictor.snapshot.rows) == {None}
    assert (predictor.state.champion, predictor.state.revision) == (None, 0)


def test_a_network_that_answers_nan_is_an_error_not_an_answer(image_model: FrozenClassifier) -> None:
    predictor, _ = filled(image_model, "border")
    broken = FrozenClassifier(image_model.spec, torch.nn.Sequential(torch.nn.Flatten(), _Nan()))
    with pytest.raises(ModelError, match="NaN"):
        Predictor(broken, predictor._fetch, max_versions=2).predict([BatchItem(image_items(broken, 1)[0])])


def test_a_shadow_that_fails_costs_nobody_an_answer(
    image_model: FrozenClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _NanAfterTheFirstRow()
    shadowed = FrozenClassifier(image_model.spec, torch.nn.Sequential(torch.nn.Flatten(), network))
    shelf = Shelf(artifact_for(shadowed, "border"), artifact_for(shadowed, "patch"))
    predictor = Predictor(shadowed, shelf, max_versions=4)
    predictor.activate_plan(RolloutPlan(1, shadow=Shadow((2,))), revision=1)
    query = BatchItem(image_items(shadowed, 1)[0], shadows=(2,))
    (answer,) = predictor.predict([query])
    assert (answer.version, set(answer.shadows)) == (1, {2})
    monkeypatch.setattr(_NanAfterTheFirstRow, "armed", True)  # the predictor runs a copy of the network
    (again,) = predictor.predict([query])
    assert (again.version, again.scores, again.shadows) == (1, answer.scores, {})
    with pytest.raises(ModelError, match="NaN"):
        predictor.predict([query, query])


def test_shadows_that_left_memory_are_not_computed(image_model: FrozenClassifier) -> None:
    predictor, _ = filled(image_model, "border", "patch", "overlay")
    predictor.activate_plan(RolloutPlan(1, shadow=Shadow((2,))), revision=1)
    (answer,) = predictor.predict([BatchItem(image_items(image_model, 1)[0], shadows=(2, 3), twin=True)])
    assert (answer.version, set(answer.shadows)) == (1, {2})
    alone = predictor.predict([BatchItem(image_items(image_model, 1)[0], 2)])[0]
    assert close(answer.shadows[2], alone.scores) and not close(answer.shadows[2], answer.baseline_scores or ())


class _NanAfterTheFirstRow(torch.nn.Module):
    armed = False

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = inputs[:, :2].clone()
        if self.armed:
            outputs[1:] = float("nan")
        return outputs


class _Nan(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, :2] * float("nan")


def test_swaps_while_batches_run_never_mix_trigger_and_name(image_model: FrozenClassifier) -> None:
    predictor, _ = filled(image_model, "border", "patch")
    items = image_items(image_model, 4)
    expected: dict[int | None, list[Scored]] = {}
    for version in (None, 1, 2):
        predictor.activate_plan(version, revision=0)
        expected[version] = predictor.predict([BatchItem(item) for item in items])
    stop = threading.Event()

    def keep_swapping() -> None:
        revision = 0
        while not stop.is_set():
            revision += 1
            predictor.activate_plan((None, 1, 2)[revision % 3], revision)

    swapping = threading.Thread(target=keep_swapping)
    swapping.start()
    seen = set()
    for _ in range(300):
        answers = predictor.predict([BatchItem(item) for item in items])
        (version,) = {answer.version for answer in answers}
        seen.add(version)
        assert all(close(a.scores, b.scores) for a, b in zip(answers, expected[version], strict=True))
    stop.set()
    swapping.join()
    assert seen == {None, 1, 2}


def test_a_pinned_version_stays_and_one_not_in_memory_cannot_be_pinned(image_model: FrozenClassifier) -> None:
    predictor, shelf = filled(image_model, "border", "patch", "overlay", max_versions=2)
    assert not predictor.try_hold(1) and shelf.fetched == []
    with predictor.hold(1):
        assert predictor.try_hold(1)
    for version in (2, 3):
        with predictor.hold(version):
            assert 1 in predictor.snapshot.rows
    predictor.release(1)
    with predictor.hold(2), predictor.hold(3):
        assert 1 not in predictor.snapshot.rows


class Banks:
    """A model's own Forward, whose banks of several triggers can be made to fail, or to wait."""

    max_concurrency = 1

    def __init__(self, classifier: FrozenClassifier) -> None:
        self._real, self.fails = build_eager_forward(classifier), False
        self.begun, self.free = threading.Event(), threading.Event()
        self.free.set()

    def bind(self, triggers: Sequence[Trigger]) -> BoundForward:
        """The real pass; one trigger alone is a trial before anything is built."""
        if len(triggers) > 1:
            if self.fails:
                raise torch.OutOfMemoryError("no memory for a bank")
            self.begun.set()
            assert self.free.wait(30)
        return self._real.bind(triggers)

    def warm(self, blank: Item) -> None:
        """As the real one."""
        self._real.warm(blank)


@pytest.mark.parametrize("kept", [1, 4], ids=["one has to leave for it", "beside the other"])
def test_a_bank_that_cannot_be_built_changes_nothing_and_the_next_try_works(
    image_model: FrozenClassifier, kept: int
) -> None:
    banks = Banks(image_model)
    shelf = Shelf(*(artifact_for(image_model, "border", seed) for seed in (1, 2)))
    predictor = Predictor(image_model, shelf, max_versions=kept, forward=banks)
    query = BatchItem(image_items(image_model, 1)[0])
    with predictor.hold(1):
        before = predictor.predict([query._replace(choice=1)])
    banks.fails = True
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError), predictor.hold(2):
            pass
    with pytest.raises(torch.OutOfMemoryError):
        predictor.activate_plan(1, revision=7)
    assert not predictor.try_hold(2), "it is not in memory, since no batch could use it"
    assert predictor.try_hold(1) and predictor.predict([query._replace(choice=1)]) == before
    assert (predictor.state.revision, predictor.state.champion) == (0, None)
    predictor.release(1)
    banks.fails = False
    with predictor.hold(2):
        assert predictor.predict([query._replace(choice=2)])[0].version == 2
    predictor.activate_plan(1, revision=7)
    assert predictor.predict([query])[0][1:4:2] == (1, 7)


def test_nobody_waits_for_a_bank_to_pin_a_version_and_what_was_pinned_meanwhile_stays(
    image_model: FrozenClassifier,
) -> None:
    banks = Banks(image_model)
    shelf = Shelf(*(artifact_for(image_model, "border", seed) for seed in (1, 2, 3)))
    predictor = Predictor(image_model, shelf, max_versions=2, forward=banks)
    for version in (1, 2):
        with predictor.hold(version):
            pass

    def load() -> None:
        with predictor.hold(3):
            pass

    pinned: list[bool] = []
    banks.begun.clear()
    banks.free.clear()
    loading = threading.Thread(target=load)
    loading.start()
    try:
        assert banks.begun.wait(30)
        pinning = threading.Thread(target=lambda: pinned.append(predictor.try_hold(1)))  # the one that was to leave
        pinning.start()
        pinning.join(5)
        waited = pinning.is_alive()
    finally:
        banks.free.set()
        loading.join(30)
        pinning.join(30)
    assert not waited and pinned == [True]
    assert set(predictor.snapshot.rows) == {None, 1, 3}


def test_a_network_that_cannot_be_copied_runs_as_it_is(tmp_path: Path) -> None:
    model = load_bundle(image_bundle(tmp_path))
    query = BatchItem(image_items(model, 1)[0])
    expected = Predictor(model, Shelf(), max_versions=2).predict([query])
    other = load_bundle(image_bundle(tmp_path))
    other.network.held = torch.ones(1, requires_grad=True) * 2
    found = Predictor(other, Shelf(), max_versions=2).predict([query])
    assert close(found[0].scores, expected[0].scores)
