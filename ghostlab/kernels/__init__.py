"""Own kernels for what PyTorch computes slowly on a CPU: see ``docs/results/speed.md``."""

from ghostlab.kernels.training import DepthwiseKernels

__all__ = ["DepthwiseKernels"]
