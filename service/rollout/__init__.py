"""Following the store's rollout, and reporting what this replica serves."""

from service.rollout.follower import RolloutController, follower_of, open_trigger_store
from service.rollout.replica_heartbeat import replica_name
from service.rollout.trigger_host import TriggerHost, TriggerState

__all__ = ["RolloutController", "TriggerHost", "TriggerState", "follower_of", "open_trigger_store", "replica_name"]
