"""Observers of a run: its display on the terminal or in a log, and the trackers that keep its history elsewhere."""

from trainer.progress.progress import LineProgress, LiveProgress, Progress, Task, open_progress
from trainer.progress.run_tracker import RunTracker
from trainer.progress.tracking import open_tracking

__all__ = ["LineProgress", "LiveProgress", "Progress", "RunTracker", "Task", "open_progress", "open_tracking"]
