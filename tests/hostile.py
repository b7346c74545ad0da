"""What a file from outside can do to whoever opens it: everything that a user does with one, in a child process with limits.

Run with files as arguments, it prints one line of JSON for each: how it ended, and what was told. It forks, so not for Windows.
"""

import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copy, copytree

import numpy as np

from brushwork.blocks import whole
from brushwork.classifier import Classifier
from brushwork.cli import (  # noqa: F401  they add commands
    exchange,
    ilastik,
    main,
    predicting,
    projects,
    showing,
    training,
)
from brushwork.errors import InputError, RunError
from brushwork.exchange import import_labels, label_file
from brushwork.features import FeatureSet
from brushwork.image import as_image
from brushwork.interchange.ilp import open_ilp
from brushwork.io import open_image, write_image
from brushwork.labels import from_array
from brushwork.project import Project
from brushwork.training import train

SECONDS = 15.0  # that a file may keep a processor, or anybody waiting
MEMORY = 1 << 30  # bytes that it may take
CEILING = 3 << 30  # bytes that the system refuses to give
MOST_READ = 1 << 22  # pixels
RNG = np.random.default_rng(0)
FLAT, DEEP = (RNG.integers(0, 255, shape).astype(np.uint8) for shape in ((20, 30), (4, 20, 30)))
TOLD = (InputError, RunError)


@dataclass(frozen=True)
class Outcome:
    """kind : "opened", "refused", "defect", "died", "slow" or "memory". told : the last error, or where it arose."""

    kind: str
    told: str
    seconds: float
    n_bytes: int

    @property
    def is_fine(self) -> bool:
        return self.kind in ("opened", "refused")


# ---------------------------------------------------------------- what a user does


def _command(*arguments: object) -> None:
    sys.argv = ["brushwork", *map(str, arguments), "--debug"]
    with suppress(SystemExit):
        main.run()


def _headless(*arguments: object) -> None:
    ilastik._work(ilastik._parsed([str(argument) for argument in arguments]))


def _use_ilp(path: Path, image: Path) -> list[Callable[[], object]]:
    out = path.parent / "predicted.npy"
    return [
        lambda: _command("info", path),
        lambda: open_ilp(path),
        lambda: _command("import", path, "-o", path.with_suffix(".brushwork")),
        lambda: _command("predict", path, image, "-o", out),
        lambda: _headless(
            "--headless", f"--project={path}", f"--output_filename_format={path.parent}/{{nickname}}_r", image
        ),
    ]


def _use_labels(path: Path, image: Path) -> list[Callable[[], object]]:
    def paint() -> None:
        opened = open_image(image)
        mapping = {v.name or v.value: f"class {k % 5}" for k, v in enumerate(label_file(path, image=opened).values)}
        with Project.create(path.parent / "painted.brushwork") as project:
            entry = project.add_image(image)
            project.add_task("task")
            import_labels(project, path, image=entry.id, mapping=mapping, new_classes=True)

    def read() -> None:
        opened = open_image(path)
        if np.prod(opened.shape, dtype=float) < MOST_READ:
            opened.read(whole(opened.shape))

    as_labels = [lambda: _command("labels", path), paint]
    return as_labels if path.suffix == ".geojson" else [*as_labels, lambda: _command("info", path), read]


def _use_model(path: Path, image: Path) -> list[Callable[[], object]]:
    return [lambda: _command("info", path), lambda: Classifier.load(path).predict_array(open_image(image).source[:])]


def _use_project(path: Path, image: Path) -> list[Callable[[], object]]:
    def look() -> None:
        with Project.open(path) as project:
            for point in project.history():
                with suppress(InputError):
                    project.restore(point)
            for task in project.document.tasks:
                for entry in project.document.images:
                    project.labels(task.name, entry.id)

    return [
        lambda: _command("info", path),
        look,
        lambda: _command("predict", path, "--all", "-o", path.parent / "results"),
    ]


def _used(path: Path, image: Path) -> None:
    """Do everything; raises the last InputError or RunError after all is done, and anything else at once."""
    use = {".ilp": _use_ilp, ".bwm": _use_model, ".brushwork": _use_project}.get(path.suffix, _use_labels)
    refused: Exception | None = None
    for act in use(path, image):
        try:
            act()
        except TOLD as error:
            if re.search("allocate|memory", str(error)):  # that only the limit kept it from taking
                raise MemoryError(str(error)) from error
            refused = error
    if refused is not None:
        raise refused


# ---------------------------------------------------------------- in a child process


def tried(source: Path) -> Outcome:
    """How it ends when a file, or the folder of a project, is used. What is tried is a copy beside an image."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (copytree if source.is_dir() else copy)(source, home / source.name)
        np.save(home / "image.npy", FLAT)
        write_image(as_image(DEEP), home / "stack.tif")
        image = home / ("stack.tif" if "deep" in source.name else "image.npy")
        report, began = home / "report", time.monotonic()
        child = os.fork()
        if child == 0:
            _child(home / source.name, image, report)
        status, usage = _waited(child, began)
        seconds = time.monotonic() - began
        kind, told = "died", f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {status}"
        if report.exists():
            kind, _, told = report.read_text(errors="replace").partition("\n")
        if seconds >= SECONDS or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
            kind = "slow"
        n_bytes = usage.ru_maxrss * 1024 - OWN
        return Outcome("memory" if n_bytes > MEMORY else kind, told.replace(folder, ""), seconds, n_bytes)


def _waited(child: int, began: float) -> "tuple[int, resource.struct_rusage]":
    pause = 0.002
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage
        if time.monotonic() - began > SECONDS:
            os.kill(child, signal.SIGKILL)
            return os.wait4(child, 0)[1:]
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _child(path: Path, image: Path, report: Path) -> None:
    """Never returns."""
    try:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + CEILING, taken + CEILING))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            try:
                _used(path, image)
                report.write_text("opened\n")
            except TOLD as error:
                report.write_text(f"refused\n{error}")
            except MemoryError as error:
                report.write_text(f"memory\n{_place(error)}")
            except BaseException as error:
                report.write_text(f"defect\n{_place(error)}")
    finally:
        os._exit(0)


def _place(error: BaseException) -> str:
    """The error, and the lines of ours that it came through, innermost last."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}brushwork{os.sep}" in f.filename]
    lines = " > ".join(f"{Path(f.filename).name}:{f.name}:{f.lineno}" for f in frames[-3:])
    return f"{type(error).__name__}: {str(error)[:300]} @ {lines}"


def warm() -> None:
    """Load before forking what every child would load: libraries and machine code."""
    global OWN

    painted = np.zeros(FLAT.shape, np.uint8)
    painted[2:5, 2:9], painted[12:15, 2:9] = 1, 2
    image = as_image(FLAT)
    features = FeatureSet.parse("gaussian:0.3,1 structure-tensor:1.6")
    train([(image, from_array(painted))], features, classes=("a", "b")).predict_array(FLAT)
    with tempfile.TemporaryDirectory() as folder:
        write_image(image, Path(folder) / "a.nii.gz")
        write_image(image, Path(folder) / "a.tif")
    OWN = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


OWN = 0  # bytes of this process


def _print_outcomes(paths: Sequence[str]) -> None:
    warm()
    for path in paths:
        outcome = tried(Path(path))
        print(json.dumps(asdict(outcome) | {"is_fine": outcome.is_fine}), flush=True)


if __name__ == "__main__":
    _print_outcomes(sys.argv[1:])
