"""Files and folders that are written aside and renamed when they are complete, and what can go wrong meanwhile.

What lies aside is called .NAME.MACHINE.PROCESS.partial: a process that was killed leaves it, the next one that writes into the
folder removes it.
"""

import errno
import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any

from brushwork.errors import InputError, RunError
from brushwork.io.processes import is_alive, machine
from brushwork.io.wrong import first_line

# EFBIG is what a limit on file size gives, which is how tests fill a disk.
FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file is too large for this disk",
}
FORBIDDEN = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}
PARTIAL = re.compile(r"\..+\.([0-9a-f]{8})\.(\d+)\.partial")


def refuse_existing(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; choose another name or overwrite it (--overwrite)")
    if (
        path.is_dir()
        and any(path.iterdir())
        and not (path / "zarr.json").is_file()
        and not (path / ".zgroup").is_file()
    ):
        raise InputError(f"{path} is a folder that holds other things than a zarr; it is not overwritten")


@contextmanager
def written_aside(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A name beside `path` to write a file or folder to; it takes the place of `path` when the block ends without an error."""
    refuse_existing(path, overwrite)
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = partial_name(path)
    try:
        with told(path):
            yield aside
            replace(aside, path)
    finally:
        remove(aside)


def partial_name(path: Path) -> Path:
    """A name beside `path`, in a folder that exists, for what is not complete. What dead processes left there is removed."""
    _remove_left(path.parent.absolute())
    aside = path.with_name(f".{path.name}.{machine()}.{os.getpid()}.partial")
    remove(aside)  # of a dead process that had this number
    return aside


@cache  # a folder may hold a hundred thousand files
def _remove_left(folder: Path) -> None:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = PARTIAL.fullmatch(entry.name)
            if found and found[1] == machine() and not is_alive(int(found[2])):
                remove(Path(entry.path))


class PatientFile(FileIO):
    """A new file that remembers the first write that failed, or was interrupted, until `check` raises it.

    HDF5 gets this file instead of a name because a write that fails inside that library can crash the process later.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._failed: BaseException | None = None

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        try:
            left = memoryview(data).cast("B")
            while len(left) and self._failed is None:
                left = left[super().write(left) or 0 :]
        except BaseException as error:
            self._failed = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except BaseException as error:
            self._failed = self._failed or error
            return size or 0

    def check(self) -> None:
        if self._failed is not None:
            raise self._failed


def replace(new: Path, path: Path) -> None:
    """Give `new` the name `path`. A folder in its place is moved aside first, so that it is never there in part."""
    if not path.is_dir() and not (path.exists() and new.is_dir()):
        os.replace(new, path)
        return
    aside = _old(path)
    try:
        path.rename(aside)
        new.rename(path)
    except BaseException:  # told to end between the two, say
        if aside.exists() and not path.exists():
            aside.rename(path)
        raise
    for old in path.parent.glob(f".{glob.escape(path.name)}.*.old"):  # also of calls that were killed here
        remove(old)


def discard(path: Path) -> None:
    """Remove a file or folder so that its name is gone at once: killed at any moment, no half of it is left under the name."""
    with suppress(FileNotFoundError):
        old = _old(path)
        path.rename(old)
        remove(old)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.old")


def make_folder(path: Path) -> None:
    """Raises InputError where there can be no such folder."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {(error.strerror or str(error)).lower()}; choose another output folder"
        ) from error


def remove(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turns what the operating system or a library says about writing to `path` into our errors."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: Exception) -> Exception:
    """The error for a failed write: InputError where it can never work, RunError where it ran into a limit."""
    number, text = getattr(error, "errno", None), str(error)
    for code, reason in FULL.items():
        if number == code or os.strerror(code) in text:
            return RunError(f"{path} could not be written: {reason}; free some space and run again")
    for code in FORBIDDEN:
        if number == code or os.strerror(code) in text:
            return InputError(f"{path} cannot be written: {os.strerror(code).lower()}")
    return RunError(f"{path} could not be written: {first_line(error)}")
