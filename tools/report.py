"""What the runs below a folder, or of an ablation, say and how certainly: the same as ``ghostlab report``."""

import sys

from ghostlab.cli.report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
