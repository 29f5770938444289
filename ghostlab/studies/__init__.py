"""What starts many runs: ablations, sweeps, searches and their workers."""
