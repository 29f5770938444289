"""From a trained run to files that are deployed: fused, exported, quantized."""
