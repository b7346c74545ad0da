"""Lock files: who may write to a run or a record just now. Open it where two processes get into each other's way."""

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from brushwork.errors import InputError
from brushwork.io.aside import write_error
from brushwork.io.processes import is_alive

_ours: set[str] = set()  # what stands in the locks that this process holds


@contextmanager
def locked(path: Path, what: str, *, wait: float = 0, stale: float | None = None) -> Iterator[None]:
    """Hold the lock file `path`, which says host and process; its folder has to exist.

    A lock of a process of this host that has died is taken over. what : is written meanwhile, for the error.
    wait : seconds to try. stale : seconds from which any lock counts as left behind.
    Raises InputError where another process holds it.
    """
    mine = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
    deadline = time.monotonic() + wait
    _ours.add(mine)
    try:
        while not _taken(path, mine):
            holder = _holder(path)
            if _is_left(path, holder, stale):
                _steal(path, holder)
            elif time.monotonic() >= deadline:
                raise InputError(
                    f"{what} is being written by another process ({' '.join(holder.split()[:2])}); wait for it, "
                    f"or delete {path} if it is not running any more"
                )
            else:
                time.sleep(0.02)
        yield
    finally:
        _ours.discard(mine)
        if _holder(path) == mine:
            path.unlink(missing_ok=True)


def _taken(path: Path, mine: str) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    except OSError as error:
        raise write_error(path.parent, error) from error
    with os.fdopen(handle, "w") as file:
        file.write(mine)
    return True


def _holder(path: Path) -> str:
    """What stands in a lock; empty where it is gone or just being written."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _is_left(path: Path, holder: str, stale: float | None) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    host, pid, *_ = [*holder.split(), "", ""]
    if not pid.isdigit():
        return age > 5
    if stale is not None and age > stale:
        return True
    if host != socket.gethostname():
        return False
    return holder not in _ours if int(pid) == os.getpid() else not is_alive(int(pid))


def _steal(path: Path, holder: str) -> None:
    """Remove a lock that was left behind, unless somebody else did so and holds it now."""
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
    with suppress(OSError):
        path.rename(old)
        if _holder(old) != holder:
            old.rename(path)
        old.unlink(missing_ok=True)
