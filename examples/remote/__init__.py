"""A frozen model that is only an address: a server of somebody's own, and triggers that are learned from its scores."""
