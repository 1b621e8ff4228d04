"""Registries where others keep models: MLflow's, and repositories in the layout of the Hugging Face Hub."""

from fairtrigger.registries.alias_follower import AliasFollower
from fairtrigger.registries.mlflow_registry import MlflowRegistry
from fairtrigger.registries.registry import Registry, open_registry

__all__ = ["AliasFollower", "MlflowRegistry", "Registry", "open_registry"]
