"""The command line: it parses and shows, nothing else."""
