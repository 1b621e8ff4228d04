"""Data sets: sources, decoding, splits, groups, batches."""

from trainer.data.batches import Batches, shift_images
from trainer.data.dataset import Dataset, Splits
from trainer.data.device_placement import place_on_device
from trainer.data.input_table import InputConfig, InputRow, InputTable, UnusableInput
from trainer.data.loader import DataLoader
from trainer.data.prefetch import stream_batches
from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.tables.table_formats import ENDINGS, open_table

__all__ = [
    "ENDINGS",
    "BadRecord",
    "Batches",
    "DataLoader",
    "Dataset",
    "InputConfig",
    "InputRow",
    "InputTable",
    "Splits",
    "UnusableInput",
    "open_table",
    "place_on_device",
    "shift_images",
    "stream_batches",
]
