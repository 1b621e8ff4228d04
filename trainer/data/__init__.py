"""Data sets: sources, decoding, splits, groups, batches."""

from trainer.data.batches import Batches, shift_images
from trainer.data.dataset import Dataset, Splits
from trainer.data.device_placement import place_on_device
from trainer.data.input_table import InputConfig, InputRow, InputTable, UnusableInput
from trainer.data.loader import DataLoader
from trainer.data.prefetch import stream_batches

__all__ = [
    "Batches",
    "DataLoader",
    "Dataset",
    "InputConfig",
    "InputRow",
    "InputTable",
    "Splits",
    "UnusableInput",
    "place_on_device",
    "shift_images",
    "stream_batches",
]
