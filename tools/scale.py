"""Make networks deeper, wider and larger: the same as ``ghostlab scale``."""

import sys

from ghostlab.cli.scale import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
