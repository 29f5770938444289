"""Measure what things cost: the same as ``ghostlab benchmark``."""

import sys

from ghostlab.cli.benchmark import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
