"""The Open Inference Protocol V2: its requests, responses and tensors."""
