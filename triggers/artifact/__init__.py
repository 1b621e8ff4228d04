"""Trigger artifacts: manifests, tensors, bounds, digests and signatures.

Import its modules: `manifest` and `signature` need no torch, `artifact` does.
"""
