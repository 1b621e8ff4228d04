"""The choice of a model's forward pass, precision and threads by the settings and its device."""

from __future__ import annotations

import torch

from service.config import Settings
from service.engine.execution.batch_sizes import BatchSizes
from service.engine.execution.cuda_graph_forward import CudaGraphForward
from service.engine.execution.cuda_graph_recorder import CudaGraphRecorder, EagerRecorder
from service.engine.execution.eager_forward import EagerForward, Forward, build_eager_forward
from service.engine.execution.text_forward import TextForward
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier

SPARE_BANK_ROWS = 2
"""Bank rows in addition to the versions in memory: no trigger, and one under smoke test."""


def build_forward(classifier: FrozenClassifier, settings: Settings) -> Forward:
    """The forward pass of a model; on a CPU eager unless bf16 or compiling is asked for.

    It computes in float32, or as the bundle declares or the settings say, where that is less. Raises ConfigError.
    """
    cuda = classifier.device.type == "cuda"
    if settings.precision == "tf32" and not cuda:
        raise ConfigError(f"precision is tf32, which {classifier.device} does not have: say float32 or bf16.")
    if cuda:
        set_matmul_precision(settings.precision)
    dtype = torch.bfloat16 if settings.precision == "bf16" else classifier.compute_dtype
    if not cuda and dtype == classifier.compute_dtype and not settings.compile:
        return TextForward(classifier.for_inference()) if classifier.spec.text else build_eager_forward(classifier)
    fast = classifier.accelerated(dtype, compiled=settings.compile)
    sizes = BatchSizes(settings.max_batch).sizes
    if classifier.spec.text:
        return TextForward(fast, sizes)
    if not (settings.graphs and cuda):
        return EagerForward(fast, sizes)
    return build_cuda_graph_forward(fast, max_rows=settings.max_batch, max_versions=settings.max_versions)


def set_torch_threads(settings: Settings, device: str) -> None:
    """Set torch's CPU threads of this process: as configured, else one with a GPU, else its share among HTTP workers.

    With a GPU, waking more takes too long.
    """
    if settings.torch_threads or torch.device(device).type != "cpu":
        torch.set_num_threads(settings.torch_threads or 1)
    elif settings.http_workers and not settings.engine_devices:
        torch.set_num_threads(max(1, torch.get_num_threads() // settings.http_workers))


def set_matmul_precision(precision: str) -> None:
    """Set torch's TF32 switches, which are process-wide and partly on by default."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


def build_cuda_graph_forward(classifier: FrozenClassifier, *, max_rows: int, max_versions: int) -> CudaGraphForward:
    """CUDA graphs on a GPU; on a CPU the same functions, run eagerly."""
    recorder = CudaGraphRecorder(classifier.device) if classifier.device.type == "cuda" else EagerRecorder()
    return CudaGraphForward(classifier, recorder, max_rows=max_rows, max_triggers=max_versions + SPARE_BANK_ROWS)
