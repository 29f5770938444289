"""``python -m ghostlab`` is ``ghostlab``."""

import sys

from ghostlab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
