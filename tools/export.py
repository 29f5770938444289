"""Write a network for other runtimes, each file run and compared: the same as ``ghostlab export``."""

import sys

from ghostlab.cli.export import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
