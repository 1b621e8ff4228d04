"""Endpoints of strangers for tests: real servers on the loopback around a local model, each speaking one protocol."""
