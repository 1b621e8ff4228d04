"""The desk of those who use fairness triggers: the command line and what stands on trainer and service."""
