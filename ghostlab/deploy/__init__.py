"""From a trained run to files that are deployed."""

from ghostlab.deploy.fused import Accuracy, write_fused

__all__ = ["Accuracy", "write_fused"]
