"""What a deployed network sees in images: the same as ``ghostlab predict``."""

import sys

from ghostlab.cli.predict import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
