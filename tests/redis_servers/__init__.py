"""Real Redis servers for tests: one, a cluster, one behind sentinels."""
