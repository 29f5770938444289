"""GhostNets written for reading, every model of timm by name, reading of checkpoints, and counts."""

from ghostlab.models.factory import create_model
from ghostlab.models.ghostnet import GhostNet
from ghostlab.models.meta_device import Counts, count
from ghostlab.models.weights import load_weights

__all__ = ["Counts", "GhostNet", "count", "create_model", "load_weights"]
