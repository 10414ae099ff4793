"""Streams of labelled samples, read from disk in pieces; augmentation; data removal."""

from .augment import AUGMENTATIONS, get_augmentation
from .configured import configured_stream
from .options import Cutting, Reading
from .removal import DataRemoval, check_removal, expected_visits, removal_points
from .source import ArraySource, FileSource, KeptSource, MappedSource, SampleSource
from .streams import Stream, StreamInfo, Task, fetch_stream_data, list_streams, load_stream

__all__ = [
    "AUGMENTATIONS",
    "ArraySource",
    "Cutting",
    "DataRemoval",
    "FileSource",
    "KeptSource",
    "MappedSource",
    "Reading",
    "SampleSource",
    "Stream",
    "StreamInfo",
    "Task",
    "check_removal",
    "configured_stream",
    "expected_visits",
    "fetch_stream_data",
    "get_augmentation",
    "list_streams",
    "load_stream",
    "removal_points",
]
