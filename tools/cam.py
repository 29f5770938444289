"""What in an image speaks for a class, for several runs side by side: the same as ``ghostlab cam``."""

import sys

from ghostlab.cli.cam import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
