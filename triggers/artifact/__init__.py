"""Trigger artifacts: a manifest beside its tensors, bounds, digests and signatures.

Import its modules: `manifest` and `signature` need no torch, `artifact` does.
"""
