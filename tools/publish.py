"""A run as a folder for the Hugging Face hub, in timm's format: the same as ``ghostlab publish``."""

import sys

from ghostlab.cli.publish import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
