"""From the settings to how a model is executed on its device."""

from __future__ import annotations

import torch

from service.config import Settings
from service.engine.execution.batch_sizes import Buckets
from service.engine.execution.cuda_graph_forward import CapturedForward
from service.engine.execution.cuda_graph_recorder import Again, CudaGraphs
from service.engine.execution.eager_forward import EagerForward, Forward, plain_forward
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier

SPARE = 2
"""Bank rows beside those of the versions in memory: no trigger, and one that is tried out."""


def forward_for(classifier: FrozenClassifier, settings: Settings) -> Forward:
    """How this model's batches are computed; a CPU runs the model as it is unless bf16 or compiling is asked for.

    Raises ConfigError.
    """
    cuda = classifier.device.type == "cuda"
    if settings.precision == "tf32" and not cuda:
        raise ConfigError(f"precision is tf32, which {classifier.device} does not have: say float32 or bf16.")
    if cuda:
        use_precision(settings.precision)
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    if not cuda and dtype == torch.float32 and not settings.compile:
        return plain_forward(classifier)
    fast = classifier.accelerated(dtype, compiled=settings.compile)
    sizes = Buckets(settings.max_batch).sizes
    if classifier.spec.image is None or not (settings.graphs and cuda):
        return EagerForward(fast, sizes)
    return captured(fast, max_rows=settings.max_batch, max_versions=settings.max_versions)


def use_threads(settings: Settings, device: str) -> None:
    """CPU threads of torch in this process: as set, its share of those that several processes have, one beside a GPU.

    There, waking more takes too long.
    """
    if settings.torch_threads or torch.device(device).type != "cpu":
        torch.set_num_threads(settings.torch_threads or 1)
    elif settings.http_workers and not settings.engine_devices:
        torch.set_num_threads(max(1, torch.get_num_threads() // settings.http_workers))


def use_precision(precision: str) -> None:
    """Set torch's TF32 switches, which are the whole process's and partly on by default."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def captured(classifier: FrozenClassifier, *, max_rows: int, max_versions: int) -> CapturedForward:
    """Recorded programs on a GPU; on a CPU the same programs, run again and again."""
    recorder = CudaGraphs(classifier.device) if classifier.device.type == "cuda" else Again()
    return CapturedForward(classifier, recorder, max_rows=max_rows, max_triggers=max_versions + SPARE)
