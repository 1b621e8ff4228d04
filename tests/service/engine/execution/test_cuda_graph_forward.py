"""Recorded programs answer as the plain model does: paddings, shrinking as data, bank rows, swaps. On a CPU the same
programs are run again and again; on a GPU (`pytest -m gpu`) they are CUDA graphs.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from service.config.settings import Settings
from service.engine.execution.batch_sizes import BatchSizes
from service.engine.execution.cuda_graph_forward import CudaGraphForward
from service.engine.execution.eager_forward import EagerForward
from service.engine.execution.execution_backend import build_cuda_graph_forward, build_forward
from service.engine.execution.resample_taps import resample_taps, resize
from service.engine.predictor import BatchItem, Predictor
from tests.artifacts import IMAGE_KINDS, artifact_for, image_trigger
from tests.bundles import SIZE, image_bundle, oblong_bundle, text_bundle, torchvision_bundle
from tests.service.live import picture, predict, running, settings
from triggers.artifact.artifact import TriggerArtifact
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier, Item, load_bundle
from triggers.store.file_store import FileStore
from triggers.trigger.image import ImageTrigger, shrink_and_centre

GPU_ONLY = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # pipes of the processes of torch's compiler
)
MAX_ROWS = 6


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=GPU_ONLY)])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[FrozenClassifier]:
    """A network without norms, a ResNet-18 whose norms were folded, and a network of oblong images, on one device."""
    folders = (
        image_bundle(tmp_path_factory.mktemp("faces")),
        torchvision_bundle(tmp_path_factory.mktemp("resnet")),
        oblong_bundle(tmp_path_factory.mktemp("oblong")),
    )
    torch.backends.cudnn.allow_tf32 = False
    return [load_bundle(folder, request.param) for folder in folders]


def images(model: FrozenClassifier, count: int, seed: int = 0) -> list[Item]:
    assert model.spec.image
    shape, generator = (count, *model.spec.image.pixel_shape), torch.Generator().manual_seed(seed)
    return list(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))


def of_every_kind(model: FrozenClassifier) -> list[ImageTrigger]:
    assert model.spec.image
    sides = model.spec.image.pixel_shape[1:]
    made = [image_trigger(kind, seed, size=sides) for seed, kind in enumerate(IMAGE_KINDS)]
    wider = image_trigger("border", 9, size=sides)
    none = model.null_trigger()
    assert isinstance(none, ImageTrigger) and isinstance(wider, ImageTrigger)
    narrow = ImageTrigger("border", wider.size - 7, wider.keep, wider.delta)
    return [none, *(each for each in made if isinstance(each, ImageTrigger)), narrow]


def recorded(model: FrozenClassifier, max_versions: int = 8) -> CudaGraphForward:
    return build_cuda_graph_forward(model.accelerated(), max_rows=MAX_ROWS, max_versions=max_versions)


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("largest", "sizes"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_sizes_are_powers_of_two_and_the_largest_batch(largest: int, sizes: tuple[int, ...]) -> None:
    buckets = BatchSizes(largest)
    assert buckets.sizes == sizes
    assert [buckets.round_up(rows) for rows in range(1, largest + 1)] == [
        min(size for size in sizes if size >= rows) for rows in range(1, largest + 1)
    ]


@pytest.mark.parametrize(
    ("inner", "height", "width"),
    [(16, 16, 16), (13, 16, 16), (8, 16, 16), (23, 32, 32), (31, 32, 32), (184, 224, 224), (17, 24, 41), (71, 90, 77)],
)
def test_shrinking_as_data_is_the_resize_of_the_one_formula(inner: int, height: int, width: int) -> None:
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    margin, taps = min(height, width) - inner, []
    for side in (height, width):
        found = resample_taps(side - margin, side)
        assert found
        taps += [found.first.expand(2, -1), found.weight.expand(2, -1, -1)]
    small = resize(pixels.permute(0, 2, 3, 1), taps).permute(0, 3, 1, 2)
    assert torch.allclose(small, shrink_and_centre(pixels, inner), atol=1e-6, rtol=0)


def test_shrinking_below_half_the_size_is_not_said_wrongly() -> None:
    assert resample_taps(112, 224) is not None
    assert resample_taps(60, 224) is None


@pytest.mark.parametrize("count", [1, 3, 6, 15])
def test_mixed_triggers_answer_as_the_plain_model(models: list[FrozenClassifier], count: int) -> None:
    for model in models:
        triggers, items = of_every_kind(model), images(model, count)
        rows = [n % len(triggers) for n in range(count)]
        expected = EagerForward(model).bind(triggers)(items, rows)
        forward = recorded(model)
        assert close(forward.bind(triggers)(items, rows), expected)
        assert forward.recorded_count, "the pass was eager"


def test_what_an_earlier_batch_left_behind_changes_nothing(models: list[FrozenClassifier]) -> None:
    for model in models:
        triggers, forward = of_every_kind(model), recorded(model)
        run, items = forward.bind(triggers), images(model, 3)
        alone = run(items, [1, 2, 3])
        run(images(model, 6, seed=1), [0, 1, 2, 3, 4, 5])
        assert torch.equal(run(items, [1, 2, 3]), alone)


def test_warming_records_every_size_and_serving_records_nothing(models: list[FrozenClassifier]) -> None:
    model = models[0]
    forward = recorded(model)
    forward.warm(images(model, 1)[0])
    assert forward.recorded_count == 2 * len(BatchSizes(MAX_ROWS).sizes)
    run = forward.bind(of_every_kind(model))
    for count in range(1, MAX_ROWS + 1):
        run(images(model, count), [count % 5] * count)
    assert forward.recorded_count == 2 * len(BatchSizes(MAX_ROWS).sizes)


def test_a_swap_copies_one_row(models: list[FrozenClassifier]) -> None:
    model, items = models[0], images(models[0], 4)
    old, new = of_every_kind(model)[:3], image_trigger("border", 77, size=SIZE)
    forward = recorded(model, max_versions=3)
    before = forward.bind(old)
    scores, copies = before(items, [2] * 4), forward.bank.copies
    after = forward.bind([*old[:2], new])
    assert forward.bank.copies == copies + 1
    assert close(after(items, [2] * 4), EagerForward(model).bind([new])(items, [0] * 4))
    assert torch.equal(before(items, [2] * 4), scores)  # a batch that still holds the old triggers gets them
    assert forward.bank.copies == copies + 1


def test_more_triggers_than_rows_leave_by_age_and_never_answer_for_another(models: list[FrozenClassifier]) -> None:
    model, items = models[0], images(models[0], 2)
    forward = recorded(model, max_versions=1)  # 3 rows
    passes = []
    for seed in range(6):
        trigger = image_trigger("patch", seed, size=SIZE)
        passes.append((forward.bind([trigger]), EagerForward(model).bind([trigger])(items, [0, 0])))
    for run, expected in (*passes, *reversed(passes)):
        assert close(run(items, [0, 0]), expected)


def test_a_trigger_that_shrinks_too_far_runs_unrecorded(
    models: list[FrozenClassifier], caplog: pytest.LogCaptureFixture
) -> None:
    model, items = models[0], images(models[0], 2)
    none = of_every_kind(model)[0]
    tiny = ImageTrigger("border", 3, none.keep, none.delta)
    found = recorded(model).bind([none, tiny])(items, [0, 1])
    assert close(found, EagerForward(model).bind([none, tiny])(items, [0, 1]))
    assert "shrinks 16 pixels to 3" in caplog.text


@pytest.mark.slow
def test_a_predictor_over_recorded_programs_swaps_while_batches_run(models: list[FrozenClassifier]) -> None:
    model, items = models[0], images(models[0], 4)
    artifacts = {n: artifact_for(model, kind, n) for n, kind in enumerate(("border", "patch", "overlay"), start=1)}

    def fetch(version: int) -> TriggerArtifact:
        return artifacts[version]

    predictor = Predictor(model, fetch, max_versions=2, forward=recorded(model, 2))
    predictor.warm()
    expected = {}
    for version in (None, 1, 2, 3):
        predictor.activate_plan(version, revision=0)
        expected[version] = [answer.scores for answer in predictor.predict([BatchItem(item) for item in items])]
    stop = threading.Event()

    def keep_swapping() -> None:
        revision = 0
        while not stop.is_set():
            revision += 1
            predictor.activate_plan((None, 1, 2, 3)[revision % 4], revision)

    swapping = threading.Thread(target=keep_swapping, daemon=True)
    swapping.start()
    seen: set[int | None] = set()
    try:
        enough = time.monotonic() + 60
        for number in itertools.count():
            if (number > 200 and len(seen) == 4) or time.monotonic() > enough:
                break
            answers = predictor.predict([BatchItem(item) for item in items])
            (version,) = {answer.version for answer in answers}
            seen.add(version)
            assert [answer.scores for answer in answers] == expected[version]
    finally:
        stop.set()
        swapping.join()
    assert len(seen) == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")  # torch's advice to round float32
@pytest.mark.parametrize("compiled", [False, True])
def test_on_a_gpu_bf16_rounds_and_float32_does_not(compiled: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = torchvision_bundle(tmp_path_factory.mktemp("resnet"))
    slow, model = load_bundle(folder), load_bundle(folder, "cuda")
    triggers, items = of_every_kind(slow), images(slow, 6)
    expected = EagerForward(slow).bind(triggers)(items, [0, 1, 2, 3, 4, 5])
    for precision, allowed in (("float32", 2e-4), ("tf32", 0.02), ("bf16", 0.1)):
        settings = Settings(device="cuda", precision=precision, compile=compiled, max_batch=6)
        forward = build_forward(model, settings)
        forward.warm(items[0])
        found = forward.bind(triggers)(items, [0, 1, 2, 3, 4, 5])
        assert float((found - expected).abs().max()) < allowed, precision


def test_a_cpu_runs_the_model_as_it_is_by_default(image_model: FrozenClassifier, text_model: FrozenClassifier) -> None:
    items, triggers = images(image_model, 5), of_every_kind(image_model)
    forward = build_forward(image_model, Settings())
    assert isinstance(forward, EagerForward)
    plain = EagerForward(image_model).bind(triggers)(items, [0, 1, 2, 3, 4])
    assert close(forward.bind(triggers)(items, [0, 1, 2, 3, 4]), plain)
    text, none = text_model.preprocess("a bad movie"), [text_model.null_trigger()]
    untouched = EagerForward(text_model).bind(none)([text], [0])
    assert torch.equal(build_forward(text_model, Settings()).bind(none)([text], [0]), untouched)


@pytest.mark.parametrize("make", [image_bundle, text_bundle])
def test_bf16_on_a_cpu_answers_nearly_the_same(
    make: Callable[..., object], image_model: FrozenClassifier, text_model: FrozenClassifier
) -> None:
    model = image_model if make is image_bundle else text_model
    kind, item = ("border", images(model, 1)[0]) if make is image_bundle else ("soft", model.preprocess("a bad movie"))
    triggers = [model.null_trigger(), artifact_for(model, kind).trigger]
    exact = EagerForward(model).bind(triggers)([item, item], [0, 1])
    rounded = build_forward(model, Settings(precision="bf16")).bind(triggers)([item, item], [0, 1])
    assert torch.allclose(exact, rounded, atol=0.05) and not torch.equal(exact, rounded)


def test_tf32_is_refused_where_there_is_none(image_model: FrozenClassifier) -> None:
    with pytest.raises(ConfigError, match="tf32"):
        build_forward(image_model, Settings(precision="tf32"))


def test_the_model_card_states_precision_and_decoder(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    with running(settings(tmp_path, precision="bf16"), filled_store, [image_model]) as client:
        card = client.get("/v1/models/faces").json()
        assert (card["precision"], card["decoder"]) == ("bf16", "cpu")
        (bare,) = predict(client, "faces", [picture(1)])
        exact = EagerForward(image_model).bind([image_model.null_trigger()])([image_model.preprocess(picture(1))], [0])
        assert list(bare["scores"].values()) == pytest.approx(exact[0].tolist(), abs=0.05)
