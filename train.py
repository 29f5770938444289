"""Train one model with joined strategies, or a sweep of them: the same as ``ghostlab train``."""

import sys

from ghostlab.cli.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
