"""Tiny servers for the peers that `benchmarks.serve` compares with; each runs in an environment of its own."""
