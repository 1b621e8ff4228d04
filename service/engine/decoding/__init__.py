"""Files to tensors: on the CPU, on the GPU, or passed on as they came."""
