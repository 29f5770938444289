"""The command line: arguments in, one-line errors and exit codes out."""
