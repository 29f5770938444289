"""N branches with batch norms at about the cost of one convolution, exactly: see ``docs/reparameterization.md``."""

from ghostlab.reparam.online.paths import MODES, model_paths, path_of, run_site

__all__ = ["MODES", "model_paths", "path_of", "run_site"]
