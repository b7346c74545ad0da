"""What goes wrong, in two kinds.

    Exception
      +- ValueError
      |    +- InputError      what was given cannot be used; the command line exits 2
      +- RuntimeError
           +- RunError        the work itself failed (disk full, a worker died); the command line exits 1

Messages say what was given, what was wanted and what to do.
"""

from collections.abc import Iterable


class InputError(ValueError):
    """What was given cannot be used."""


class RunError(RuntimeError):
    """Work that began could not be finished."""


class MissingPart(InputError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part that is not installed: pip install 'brushwork[{extra}]'")


def unknown(kind: str, given: object, known: Iterable[object]) -> InputError:
    """The error for a name that is not in a list: it shows the list, and the name that was probably meant."""
    names = [str(name) for name in known]
    near = closest(str(given), names)
    hint = f" (did you mean {near!r}?)" if near else ""
    return InputError(f"unknown {kind} {given!r}{hint}; known: {', '.join(names)}")


def closest(given: str, known: Iterable[str]) -> str | None:
    """The known name most like the one given, whatever its case; None where none is, and for numbers."""
    import difflib

    names = {name.lower(): name for name in known}
    near = [] if given.isdigit() else difflib.get_close_matches(given.lower(), names, n=1)
    return names[near[0]] if near else None
