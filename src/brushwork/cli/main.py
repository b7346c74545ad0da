"""The `brushwork` command: its subcommands, and what happens to errors."""

import atexit
import gc
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from brushwork._version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="A few brush strokes in; every pixel of every microscopy image classified.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


INTERRUPTED = 130  # what shells report after Ctrl-C
SEVERAL = ("--labels",)  # options that take all values up to the next option


class Ended(BaseException):
    """The process was told to end, as schedulers and closing terminals do. code : what shells report for that."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number, self.code = number, 128 + number


def end_when_told() -> None:
    """Let SIGTERM and SIGHUP raise Ended where they would kill, so that what lies aside is removed."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
            sys.unraisablehook = _raise_later


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one would interrupt the cleaning up
    raise Ended(number)


def _raise_later(dropped: "sys.UnraisableHookArgs") -> None:
    """Raise Ended once more where it was dropped because it came in the middle of a destructor."""
    error = dropped.exc_value
    if not isinstance(error, Ended):
        sys.__unraisablehook__(dropped)
        return
    number = error.number
    signal.signal(signal.SIGALRM, lambda *_: _end(number, None))
    signal.setitimer(signal.ITIMER_REAL, 0.02)


def ended_in(error: BaseException | None) -> Ended | None:
    """What told the process to end, also where a library made an error of its own of it."""
    while error is not None and not isinstance(error, Ended):
        error = error.__cause__ or error.__context__
    return error


def repeated(arguments: list[str]) -> list[str]:
    """`--labels a b` as `--labels a --labels b`, which is what the parser knows."""
    result: list[str] = []
    option = ""
    for argument in arguments:
        name, joined, _ = argument.partition("=")
        if argument.startswith("-"):
            option = name if name in SEVERAL else ""
            if option and not joined:
                continue
        elif option:
            result.append(option)
        result.append(argument)
    return result


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"brushwork {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors; may stand anywhere.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    # A window has nothing aside for long, and an exception would not end it.
    if context.invoked_subcommand != "open":
        end_when_told()


def run() -> None:
    """Entry point. Exits 2 for bad input, 1 for a failed run, 130 after Ctrl-C, 143 after SIGTERM; --debug shows a traceback."""
    # Imports make some 100,000 objects that stay. Looking through them for garbage again and again costs 0.1 s at the
    # start and 0.25 s at the end.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    from brushwork.cli import (  # noqa: F401  they add their commands
        exchange,
        ilastik,
        measuring,
        objects,
        predicting,
        projects,
        segmenting,
        showing,
        training,
    )

    debug = "--debug" in sys.argv
    arguments = repeated([a for a in sys.argv[1:] if a != "--debug"])
    try:
        code = app(arguments, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except (Ended, Exception) as error:
        if ended := ended_in(error):
            _leave(f"{ended}; nothing that looks complete is left, and the same command continues", ended.code)
        if debug:
            raise
        _leave(*_explained(error))
    if code == INTERRUPTED:  # some versions of the parser return it, others raise
        _leave("interrupted; nothing that looks complete is left, and the same command continues", INTERRUPTED)


def _leave(message: str, code: int) -> None:
    from rich.markup import escape

    from brushwork.cli.console import errors

    errors.print(f"[bold red]brushwork:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.stdout.flush()
    sys.exit(code)


def _explained(error: BaseException) -> tuple[str, int]:
    from brushwork.errors import InputError, RunError

    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, RunError):
        return str(error), 1
    if hasattr(error, "format_message"):  # the parser's own errors
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "brushwork"
        return f"{error.format_message()} ({command} --help)", 2
    if isinstance(error, MemoryError):
        return "there is not enough memory; give --memory or a smaller --block", 1
    return f"{type(error).__name__}: {error} (this is a defect; --debug shows where)", 1
