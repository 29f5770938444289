"""Caches of teachers' answers: the same as ``ghostlab teacher-cache``."""

import sys

from ghostlab.cli.teacher_cache import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
