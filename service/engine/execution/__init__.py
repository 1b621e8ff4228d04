"""The forward pass on a device: eager, or recorded as CUDA graphs."""

from service.engine.execution.execution_backend import forward_for

__all__ = ["forward_for"]
