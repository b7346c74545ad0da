"""How the name of a project's folder ends; apart from all else, so that the command line knows it without loading NumPy."""

SUFFIX = ".brushwork"
