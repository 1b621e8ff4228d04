"""The trainer: learns fairness triggers for a frozen classifier and publishes them (`python -m trainer run.toml`)."""
