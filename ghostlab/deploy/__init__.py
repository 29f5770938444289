"""From a trained run to files that are deployed, and to pictures of where it looks."""

from ghostlab.deploy.cam import Explanation, class_activation, explain
from ghostlab.deploy.fused import Accuracy, write_fused

__all__ = ["Accuracy", "Explanation", "class_activation", "explain", "write_fused"]
