"""Data sets: sources, decoding, splits, groups, batches."""

from trainer.data.batches import Batches, shift_images
from trainer.data.dataset import Dataset, Splits
from trainer.data.device_placement import place_on_device
from trainer.data.loader import DataLoader
from trainer.data.prefetch import stream_batches
from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.tables.table_formats import ENDINGS, open_table

__all__ = [
    "ENDINGS", "BadRecord", "Batches", "DataLoader", "Dataset", "Splits", "open_table", "place_on_device",
    "shift_images", "stream_batches",
]  # fmt: skip
