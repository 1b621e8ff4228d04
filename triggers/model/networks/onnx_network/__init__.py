"""Networks from ONNX files, as torch modules through which gradients reach the input."""

from triggers.model.networks.onnx_network.network import OnnxNetwork, load_onnx, onnx_oracle
from triggers.model.networks.onnx_network.onnx_file import OnnxDescription, read_onnx

__all__ = ["OnnxDescription", "OnnxNetwork", "load_onnx", "onnx_oracle", "read_onnx"]
