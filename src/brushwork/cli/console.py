"""Where the command line writes, and how it shows progress."""

import importlib.util
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

PIPED_WIDTH = 160  # columns where nobody looks at a terminal
console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
errors = Console(stderr=True, width=None if sys.stderr.isatty() else PIPED_WIDTH)


class _TellOnce(logging.Handler):
    """Says once that kernels are being compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.told = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.told and record.levelno == logging.INFO:
            self.told = True
            errors.print(
                "Compiling kernels for this machine: up to 20 seconds, and only at the first use of each.", style="dim"
            )


def _load_when_used(*modules: str) -> None:
    """Let parts of packages wait until somebody asks them for something.

    scipy.linalg, which numba imports, touches every name of numpy: 0.1 s at every start for these.
    """
    for name in modules:
        if name in sys.modules or (spec := importlib.util.find_spec(name)) is None or spec.loader is None:
            continue
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, module)


def before_computing() -> None:
    """Tell the user when (and only when) kernels have to be compiled; load nothing that nobody needs."""
    _load_when_used("numpy.f2py", "numpy.testing")
    log = logging.getLogger("brushwork.compile")
    log.setLevel(logging.INFO)
    if not any(isinstance(h, _TellOnce) for h in log.handlers):
        log.addHandler(_TellOnce())


@contextmanager
def progress(title: str) -> Iterator[Any]:
    """A function progress(stage, done, total) that shows a bar with rate and time left; silent when not in a terminal."""
    if not errors.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as bars:
        task = bars.add_task(title, total=None, rate="")
        began = time.perf_counter()
        first = None

        def show(stage: str, done: int, total: int) -> None:
            nonlocal first
            first = done if first is None else first  # a resumed run begins with what was done before
            rate = (done - first) / (time.perf_counter() - began) / 1e6
            bars.update(
                task, description=f"{title} ({stage})", completed=done, total=total, rate=f"{rate:.1f} Mpixel/s"
            )

        yield show


def human_bytes(n: float) -> str:
    """ "1.5 GiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} TiB"


def parse_bytes(text: str) -> int:
    """ "1.5G", "800M", "2GiB" -> bytes."""
    import re

    from brushwork.errors import InputError

    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?[bB])?\s*", text)
    if not found:
        raise InputError(f"memory {text!r} is not a size; give e.g. 800M or 4G")
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))
