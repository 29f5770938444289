"""Collapse a run's training branches and fold its batch norms, with proof: the same as ``ghostlab fuse``."""

import sys

from ghostlab.cli.fuse import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
