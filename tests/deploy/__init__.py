"""Containers and manifests: what can be proved of them without a registry or a cluster."""
