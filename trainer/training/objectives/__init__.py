"""Objectives of a step: losses, the adversary, calibration, and the gradients that come of them."""
