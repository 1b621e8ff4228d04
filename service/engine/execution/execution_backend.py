"""From the settings to how a model is executed on its device."""

from __future__ import annotations

import torch

from service.config import Settings
from service.engine.execution.batch_sizes import BatchSizes
from service.engine.execution.cuda_graph_forward import CudaGraphForward
from service.engine.execution.cuda_graph_recorder import CudaGraphRecorder, EagerRecorder
from service.engine.execution.eager_forward import EagerForward, Forward, build_eager_forward
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier

SPARE_BANK_ROWS = 2
"""Bank rows beside those of the versions in memory: no trigger, and one that is tried out."""


def build_forward(classifier: FrozenClassifier, settings: Settings) -> Forward:
    """How this model's batches are computed; a CPU runs the model as it is unless bf16 or compiling is asked for.

    Raises ConfigError.
    """
    cuda = classifier.device.type == "cuda"
    if settings.precision == "tf32" and not cuda:
        raise ConfigError(f"precision is tf32, which {classifier.device} does not have: say float32 or bf16.")
    if cuda:
        set_matmul_precision(settings.precision)
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    if not cuda and dtype == torch.float32 and not settings.compile:
        return build_eager_forward(classifier)
    fast = classifier.accelerated(dtype, compiled=settings.compile)
    sizes = BatchSizes(settings.max_batch).sizes
    if classifier.spec.image is None or not (settings.graphs and cuda):
        return EagerForward(fast, sizes)
    return build_cuda_graph_forward(fast, max_rows=settings.max_batch, max_versions=settings.max_versions)


def set_torch_threads(settings: Settings, device: str) -> None:
    """CPU threads of torch in this process: as set, its share of those that several processes have, one beside a GPU.

    There, waking more takes too long.
    """
    if settings.torch_threads or torch.device(device).type != "cpu":
        torch.set_num_threads(settings.torch_threads or 1)
    elif settings.http_workers and not settings.engine_devices:
        torch.set_num_threads(max(1, torch.get_num_threads() // settings.http_workers))


def set_matmul_precision(precision: str) -> None:
    """Set torch's TF32 switches, which are the whole process's and partly on by default."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def build_cuda_graph_forward(classifier: FrozenClassifier, *, max_rows: int, max_versions: int) -> CudaGraphForward:
    """Recorded programs on a GPU; on a CPU the same programs, run again and again."""
    recorder = CudaGraphRecorder(classifier.device) if classifier.device.type == "cuda" else EagerRecorder()
    return CudaGraphForward(classifier, recorder, max_rows=max_rows, max_triggers=max_versions + SPARE_BANK_ROWS)
