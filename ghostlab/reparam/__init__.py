"""Re-parameterization: convolutions trained as several parallel branches and deployed as one."""

from ghostlab.reparam.branches import MultiBranchConv
from ghostlab.reparam.fuse import FuseReport, NothingToFoldError, deployed, fuse
from ghostlab.reparam.grow import reparameterize
from ghostlab.reparam.layout import adopt_layout
from ghostlab.reparam.merge import merge_branches
from ghostlab.reparam.pairs import Pair, find_pairs

__all__ = [
    "FuseReport",
    "MultiBranchConv",
    "NothingToFoldError",
    "Pair",
    "adopt_layout",
    "deployed",
    "find_pairs",
    "fuse",
    "merge_branches",
    "reparameterize",
]
