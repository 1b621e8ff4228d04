"""Data sets: sources, decoding, splits, groups, batches."""

from trainer.data.batches import Batches, moved
from trainer.data.dataset import Dataset, Splits
from trainer.data.device_placement import placed
from trainer.data.loader import DataLoader
from trainer.data.prefetch import streamed

__all__ = ["Batches", "DataLoader", "Dataset", "Splits", "moved", "placed", "streamed"]
