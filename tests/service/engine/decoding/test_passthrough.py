"""Files that are passed on undecoded: which ones, how they travel, and what batches that hold them answer."""

from __future__ import annotations

import asyncio
import io
import mmap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from service.config.settings import Settings
from service.engine.batching.batcher import Batcher
from service.engine.batching.pending_requests import BatchTiming
from service.engine.decoding.cpu import CpuDecoder
from service.engine.decoding.gpu import DecodingPredictor, GpuDecoder, build_batch_function, decodes_on_gpu
from service.engine.decoding.passthrough import DecodedOrEncoded, EncodedPassthrough, build_passthrough
from service.engine.execution.eager_forward import EagerForward
from service.engine.predictor import BatchItem, BatchResult, Predictor, Scored
from service.engine.types import EncodedFile, PredictInput
from service.workers.ipc.messages import pack_queries, pack_results, unpack_queries, unpack_results
from service.workers.ipc.shared_memory_inputs import SharedSlots, SlotLayout
from tests.artifacts import artifact_for
from tests.bundles import image_bundle
from tests.service.engine.decoding.test_gpu import turned
from tests.service.live import as_item, picture, predict, running, settings
from triggers.errors import ConfigError, InputError
from triggers.model import FrozenClassifier, load_bundle
from triggers.preprocessing import ImageLimits, ImageSpec
from triggers.preprocessing.image_spec import CenterCrop, Fit, Resize, Step
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
CPU = torch.device("cpu")


def jpeg(seed: int, size: int = 16) -> bytes:
    out = io.BytesIO()
    colour = (37 * seed % 256, 91 * seed % 256, 53 * seed % 256)
    Image.new("RGB", (size, size), colour).save(out, "JPEG", quality=30)
    return out.getvalue()


def wanted(data: bytes) -> PredictInput:
    return PredictInput("image", data, None, None, False)


def passed(
    model: FrozenClassifier, inputs: Sequence[PredictInput], errors: list[str], longest: int = 3 * 16 * 16
) -> Sequence[DecodedOrEncoded]:
    assert model.spec.image
    with ThreadPoolExecutor(1) as threads:
        others = CpuDecoder(model, Settings(http_workers=2), threads, errors.append)
        return asyncio.run(
            EncodedPassthrough(others, model.spec.image, ImageLimits(max_pixels=1000), longest).decode(inputs)
        )


def test_plain_files_that_fit_are_passed_on_and_others_decoded(image_model: FrozenClassifier) -> None:
    plain, errors = jpeg(1), list[str]()
    long = plain[:2] + b"\xff\xfe\x03\x00" + b" " * 766 + plain[2:]  # a comment
    assert len(plain) <= 3 * 16 * 16 < len(long)
    inputs = [
        *map(wanted, (plain, picture(2), long, b"no image", plain[:-9])),
        PredictInput("text", "x", None, None, False),
    ]
    found = passed(image_model, [*inputs, wanted(jpeg(1, size=40))], errors)
    assert isinstance(found[0], EncodedFile) and found[0].data == plain
    for item, data in ((found[1], picture(2)), (found[2], plain)):
        assert isinstance(item, torch.Tensor) and torch.equal(item, torch.as_tensor(image_model.preprocess(data)))
    assert [type(item) for item in found[3:6]] == [InputError] * 3
    assert isinstance(found[6], torch.Tensor), "more pixels than may be passed on here"
    assert len(errors) == 3 and {"not_an_image", "wrong_modality"} <= set(errors)
    (whole,) = passed(image_model, [wanted(long)], errors, longest=10_000)
    assert isinstance(whole, EncodedFile) and whole.data == long, "no slot has to hold it"


def test_a_batch_of_files_and_images_is_answered_in_order_and_a_broken_file_gets_its_error(
    image_model: FrozenClassifier,
) -> None:
    assert image_model.spec.image
    predictor = Predictor(
        image_model,
        lambda version: artifact_for(image_model, "border", version),
        max_versions=2,
        forward=EagerForward(image_model),
    )
    predictor.activate_plan(1, 1)
    run = DecodingPredictor(predictor.predict, GpuDecoder(image_model.spec.image, ImageLimits(), CPU), CPU)
    scan = jpeg(1).index(b"\xff\xda")
    broken, image = EncodedFile(jpeg(1)[:scan] + b"\xff\xd9"), image_model.preprocess(picture(3))
    found = run(
        [
            BatchItem(broken),
            BatchItem(EncodedFile(jpeg(4))),
            BatchItem(image, twin=True),
            BatchItem(EncodedFile(jpeg(5)), choice=None),
        ]
    )
    assert isinstance(found[0], InputError)
    alone = [
        predictor.predict([query])[0]
        for query in (
            BatchItem(image_model.preprocess(jpeg(4))),
            BatchItem(image, twin=True),
            BatchItem(image_model.preprocess(jpeg(5)), choice=None),
        )
    ]
    for answer, expected in zip(found[1:], alone, strict=True):
        assert isinstance(answer, Scored) and (answer.version, answer.policy) == (expected.version, expected.policy)
        assert answer.scores == pytest.approx(expected.scores, abs=1e-6)
        assert (answer.baseline_scores is None) == (expected.baseline_scores is None)
    assert isinstance(run([BatchItem(broken)])[0], InputError)
    assert run([BatchItem(image)]) == predictor.predict([BatchItem(image)])


def test_files_and_errors_survive_the_way_between_processes(image_model: FrozenClassifier) -> None:
    region = SlotLayout.of(image_model.spec, 2, 0)
    slots = SharedSlots(mmap.mmap(-1, region.end), region)
    image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8)
    packed = pack_queries([BatchItem(EncodedFile(jpeg(2)), choice=3), BatchItem(image)], slots, [1, 0])
    file, plain = unpack_queries(packed, slots)
    assert isinstance(file.item, EncodedFile) and file.item.data == jpeg(2) and file.choice == 3
    assert torch.equal(torch.as_tensor(plain.item), image)
    answer = Scored((0.25, 0.75), 3, "sha", 9)
    error, same = unpack_results(pack_results([InputError("image_undecodable", "It is cut short."), answer], []))[0]
    assert isinstance(error, InputError) and (error.code, str(error)) == ("image_undecodable", "It is cut short.")
    assert same == answer


def test_where_files_are_decoded_follows_from_the_settings(
    image_model: FrozenClassifier, text_model: FrozenClassifier, tmp_path: Path
) -> None:
    several, one = Settings(decoder="gpu", devices="cpu"), Settings(decoder="gpu")
    with ThreadPoolExecutor(1) as threads:
        others = CpuDecoder(image_model, several, threads, print)
        assert build_passthrough(text_model, several, others) is None
        assert build_passthrough(image_model, Settings(devices="cpu"), others) is None
        for chosen in (one, several):
            with pytest.raises(ConfigError, match="decoder is gpu"):
                build_passthrough(image_model, chosen, others)
    predictor = Predictor(image_model, lambda version: artifact_for(image_model, "border"), max_versions=2)
    assert build_batch_function(predictor, Settings()) == predictor.predict
    for chosen in (one, several):
        with pytest.raises(ConfigError, match="decoder is gpu"):
            build_batch_function(predictor, chosen)


@pytest.mark.parametrize(
    ("step", "known"),
    [
        (Resize(height=16, width=16), True),
        (Fit(16, 16), True),
        (Resize(height=16, width=16, interpolation="bicubic"), False),
        (Resize(height=16, width=16, library="torchvision"), False),
        (Resize(shorter_edge=16), False),
        (CenterCrop(16, 16), False),
    ],
)
def test_steps_that_a_gpu_does_not_take_are_refused_at_the_start(step: Step, known: bool, tmp_path: Path) -> None:
    model = load_bundle(image_bundle(tmp_path / "faces"))
    model.device = torch.device("cuda")  # nothing is computed here
    assert decodes_on_gpu(model, Settings(decoder="gpu"))
    steps = (step,) if step.target(40, 30) == (16, 16) else (step, CenterCrop(16, 16))
    assert model.spec.image
    image = replace(model.spec.image, steps=steps)
    model.spec = model.spec.model_copy(update={"image": image})
    if known:
        assert decodes_on_gpu(model, Settings(decoder="gpu"))
    else:
        with pytest.raises(ConfigError, match=r"decoder is gpu, .* but 'faces' states other steps, .* decoder to cpu"):
            decodes_on_gpu(model, Settings(decoder="gpu"))
    assert not decodes_on_gpu(model, Settings(decoder="cpu"))
    grey = ImageSpec.square(16, (0.5,), (0.25,), channels=1)
    model.spec = model.spec.model_copy(update={"image": grey})
    assert not decodes_on_gpu(model, Settings(decoder="gpu")), "the card says which decoder it is"


def test_requests_wait_together_and_each_gets_its_own(image_model: FrozenClassifier) -> None:
    assert image_model.spec.image
    predictor = Predictor(image_model, lambda version: artifact_for(image_model, "border"), max_versions=2)
    run = DecodingPredictor(predictor.predict, GpuDecoder(image_model.spec.image, ImageLimits(), CPU), CPU)
    requests = [[BatchItem(EncodedFile(jpeg(3 * n + k))) for k in range(3)] for n in range(10)]
    requests[4][1] = BatchItem(EncodedFile(jpeg(1)[:-40]))

    async def scenario() -> Sequence[tuple[Sequence[object], Sequence[BatchTiming]]]:
        batcher: Batcher[BatchItem, BatchResult] = Batcher(run, name="test", max_batch=8, capacity=64)
        batcher.start()
        found = await asyncio.gather(*(batcher.submit(queries) for queries in requests))
        await batcher.close()
        return found

    found = asyncio.run(scenario())
    assert max(timing.batch_size for _, timings in found for timing in timings) == 8
    for n, (answers, _) in enumerate(found):
        for k, answer in enumerate(answers):
            if (n, k) == (4, 1):
                assert isinstance(answer, InputError)
            else:
                (alone,) = run([requests[n][k]])
                assert isinstance(answer, Scored) and isinstance(alone, Scored)
                assert answer.scores == pytest.approx(alone.scores, abs=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_one_process_decodes_files_on_its_gpu_and_answers_as_with_the_cpu(tmp_path: Path) -> None:
    bundle = image_bundle(tmp_path / "faces")
    model = load_bundle(bundle, "cuda")
    files = [jpeg(1), jpeg(2, size=40), picture(3), turned(), jpeg(4)]
    found = {}
    for decoder in ("cpu", "gpu"):
        with FileStore(tmp_path / decoder) as store:
            chosen = settings(tmp_path / f"data {decoder}", device="cuda", decoder=decoder)
            with running(chosen, store, [model]) as client:
                assert client.get("/v1/models/faces").json()["decoder"] == decoder
                found[decoder] = [each["scores"] for each in predict(client, "faces", files)]
                items = [as_item(files[0]), as_item(jpeg(1)[:-40])]
                mixed = client.post("/v1/models/faces/predict", json={"inputs": items}).json()["predictions"]
                assert "scores" in mixed[0] and "error" in mixed[1]
    assert [pytest.approx(each, abs=0.05) for each in found["cpu"]] == found["gpu"]
