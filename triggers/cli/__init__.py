"""The `fairtrigger` command."""
