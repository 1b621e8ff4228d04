"""Sequential tests over the counts, the rollback of a version that fails one, and endpoints that changed."""

from service.guard.changed_endpoints import ChangedEndpoints
from service.guard.guard import Guard
from service.guard.guarded_model import GuardedModel, public_entry, public_reason
from service.guard.webhook import Webhook

__all__ = ["ChangedEndpoints", "Guard", "GuardedModel", "Webhook", "public_entry", "public_reason"]
