"""Networks as files of other runtimes, each opened again in its own."""
