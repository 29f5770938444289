"""Own kernels for what PyTorch computes slowly on a CPU: see ``docs/results/speed.md``."""

from ghostlab.kernels.memory import keep_freed_memory
from ghostlab.kernels.training import DepthwiseKernels

__all__ = ["DepthwiseKernels", "keep_freed_memory"]
