"""Sequential tests over the counts, and the rollback of a version that fails one."""

from service.guard.guard import Guard
from service.guard.guarded_model import GuardedModel, public_entry, public_reason
from service.guard.webhook import Webhook

__all__ = ["Guard", "GuardedModel", "Webhook", "public_entry", "public_reason"]
