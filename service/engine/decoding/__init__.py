"""Decoding of input files to tensors: on the CPU, on the GPU, or passed on still encoded."""
