"""Programs that measure: how fast a training step is, and what that is made of."""
