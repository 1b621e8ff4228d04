"""The forward pass on a device: eager, or recorded as CUDA graphs."""

from service.engine.execution.execution_backend import build_forward

__all__ = ["build_forward"]
