"""An append-only log of records that survives its process being killed. It knows bytes and files, not what records mean.

A record on disk is a frame; numbers are little-endian:

    4 bytes   b"bwj1"
    4 bytes   CRC-32 of the rest of the frame
    4 bytes   length of the header, unsigned
    8 bytes   length of the payload, unsigned
    header    a JSON object, UTF-8
    payload   bytes

A file holds frames and nothing else; an empty file is a journal without records. A process that is killed leaves whole frames and
at most the beginning of one more, which the next one to open the file moves aside.
"""

import atexit
import json
import logging
import os
import struct
import sys
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from brushwork.errors import InputError

log = logging.getLogger("brushwork")
MARKER = b"bwj1"
_FIXED = struct.Struct("<4sI")  # marker, CRC
_LENGTHS = struct.Struct("<IQ")  # header, payload
COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Record:
    """header : a JSON object. payload : what is better kept as bytes."""

    header: dict[str, Any]
    payload: bytes = field(default=b"", repr=False)


def encoded(record: Record) -> bytes:
    """The frame of a record."""
    header = json.dumps(record.header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    body = _LENGTHS.pack(len(header), len(record.payload)) + header + record.payload
    return _FIXED.pack(MARKER, zlib.crc32(body)) + body


def frames(path: Path) -> Iterator[tuple[Record, int]]:
    """(record, the byte at which its frame ends), up to the end of the file or the first frame that is damaged or cut off."""
    with path.open("rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while (found := _next_frame(file, size - at)) is not None:
            record, length = found
            at += length
            yield record, at


def _next_frame(file: BinaryIO, left: int) -> tuple[Record, int] | None:
    """The frame at the file's position and its length; None where there is no whole one."""
    start = file.read(_FIXED.size + _LENGTHS.size)
    if len(start) < _FIXED.size + _LENGTHS.size:
        return None
    marker, crc = _FIXED.unpack_from(start)
    n_header, n_payload = _LENGTHS.unpack_from(start, _FIXED.size)
    if marker != MARKER or n_header + n_payload > left - len(start):
        return None  # lengths that a flipped bit made huge are never read
    rest = file.read(n_header + n_payload)
    if len(rest) < n_header + n_payload or zlib.crc32(rest, zlib.crc32(start[_FIXED.size :])) != crc:
        return None
    try:
        header = json.loads(rest[:n_header])
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict):
        return None
    return Record(header, rest[n_header:]), len(start) + len(rest)


def read_records(path: Path) -> tuple[list[Record], int]:
    """(records, bytes of them), up to the first frame that is damaged or cut off. The file stays as it is."""
    found = list(frames(path))
    return [record for record, _ in found], found[-1][1] if found else 0


def write_records(path: Path, records: Iterable[Record]) -> None:
    """A new file of records, complete and on disk when this returns. Raises OSError."""
    with path.open("wb") as file:
        for record in records:
            file.write(encoded(record))
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Let names that were made or changed in a folder survive a power cut, where the system can."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # network shares that cannot
        log.debug("%s cannot be synced", folder)
    finally:
        os.close(handle)


class Journal:
    """An open log and the thread that writes it; owns them so that whoever paints never waits for a disk.

    left_aside : the file to which damaged bytes were moved on opening, None where all was whole.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO | None,
        n_bytes: int,
        failed: Callable[[Exception], None],
        left_aside: Path | None,
    ) -> None:
        self.path, self.left_aside = path, left_aside
        self._file, self._failed = file, failed
        self._n_bytes = n_bytes  # of whole frames that are on disk
        self._torn = False  # whether there may be bytes after them
        self._queue: deque[bytes] = deque()
        self._appended = self._stored = 0  # records so far
        self._asked = self._answered = 0  # attempts to write
        self._error: Exception | None = None  # of the latest attempt
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write_what_comes, name="brushwork-journal", daemon=True)
        if file is not None:
            self._thread.start()
            atexit.register(self._flush_at_exit)

    @staticmethod
    def open(
        path: Path, *, failed: Callable[[Exception], None], read_only: bool = False
    ) -> "tuple[Journal, list[Record]]":
        """The journal of a file, made where there is none, and the records in it.

        Damaged bytes, and all that follow them, are first copied to a file PATH.damaged-N and then cut off; with `read_only`
        they are left where they are. failed : is called from the writing thread, once until a later attempt succeeds; it must not
        flush or close.
        Raises OSError where the file cannot be opened.
        """
        records, n_bytes = read_records(path) if path.exists() else ([], 0)
        if read_only:
            return Journal(path, None, n_bytes, failed, None), records
        aside = _moved_aside(path, n_bytes) if path.exists() and path.stat().st_size > n_bytes else None
        return Journal(path, _opened(path), n_bytes, failed, aside), records

    @property
    def n_bytes(self) -> int:
        """Of whole records on disk."""
        return self._n_bytes

    @property
    def unsaved(self) -> int:
        """Records that are not on disk yet."""
        return self._appended - self._stored

    def append(self, record: Record) -> None:
        """Take a record; it is on disk within 50 ms, or `failed` is called and the record stays queued."""
        if self._file is None or self._closing:
            raise InputError(f"{self.path} is not open for writing; open it anew, without read_only")
        frame = encoded(record)
        with self._changed:
            self._queue.append(frame)
            self._appended += 1
            self._asked += 1
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until every record is on disk; raises what went wrong where that fails (they stay queued)."""
        with self._changed:
            if self._file is None or self._stored == self._appended:
                return
            wanted = self._appended
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._stored >= wanted or self._answered >= mine)
            if self._stored < wanted and self._error is not None:
                raise self._error

    def restart(self, earlier: Path) -> None:
        """Move the file to `earlier` and go on with an empty one. No record may be appended meanwhile. Raises OSError."""
        self.flush()
        if self._file is None:
            raise InputError(f"{self.path} is open for reading only")
        with self._changed:
            self._file.close()
            try:
                os.replace(self.path, earlier)
                self._n_bytes = 0
            finally:
                self._file = _opened(self.path)
            sync_folder(earlier.parent)

    def close(self) -> None:
        """Write what is queued and end the thread. Where writing fails, raises and stays open, so that nothing is lost."""
        if self._file is None:
            return
        self.flush()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._file.close()
        self._file = None
        atexit.unregister(self._flush_at_exit)

    def _flush_at_exit(self) -> None:
        """For programs that end without closing."""
        try:
            self.flush()
        except OSError as error:
            log.error("%s could not be written at exit: %s", self.path, error)

    # ---------------------------------------------------------------- the writing thread

    def _write_what_comes(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or (self._queue and self._asked > self._answered))
                if self._closing:
                    return
                batch, attempt = list(self._queue), self._asked
            n_stored, error = self._attempt(batch)
            with self._changed:
                for _ in range(n_stored):
                    self._queue.popleft()
                self._stored += n_stored
                is_news = error is not None and self._error is None
                self._error, self._answered = error, attempt
                self._changed.notify_all()
            if is_news and error is not None:
                self._tell(error)

    def _attempt(self, batch: list[bytes]) -> tuple[int, Exception | None]:
        """(frames that are on disk now, what stopped the next one)."""
        end, n_written, error = self._n_bytes, 0, None
        try:
            self._cut_what_is_torn()
            self._torn = True
            for frame in batch:
                _write_all(self._file, frame)
                n_written, end = n_written + 1, end + len(frame)
        except Exception as caught:  # told to the owner, who decides
            error = caught
        try:
            os.fsync(self._file.fileno())  # type: ignore[union-attr]
        except Exception as caught:
            return 0, error or caught  # what the disk did not confirm is written again
        self._n_bytes = end
        self._torn = error is not None
        return n_written, error

    def _cut_what_is_torn(self) -> None:
        if self._torn:
            self._file.truncate(self._n_bytes)  # type: ignore[union-attr]
            self._torn = False
        self._file.seek(self._n_bytes)  # type: ignore[union-attr]

    def _tell(self, error: Exception) -> None:
        try:
            self._failed(error)
        except Exception:
            log.exception("the answer to a failed write failed itself")


def _opened(path: Path) -> BinaryIO:
    is_new = not path.exists()
    file = path.open("x+b" if is_new else "r+b", buffering=0)
    if is_new:
        sync_folder(path.parent)
    return file


def _write_all(file: Any, frame: bytes) -> None:
    left = memoryview(frame)
    while left:
        left = left[file.write(left) or 0 :]


def name_aside(path: Path) -> Path:
    """A name for what is damaged of a file, PATH.damaged-N, that no file has."""
    n = 1
    while (aside := path.with_name(f"{path.name}.damaged-{n}")).exists():
        n += 1
    return aside


def _moved_aside(path: Path, n_good: int) -> Path:
    """Copy what follows the first `n_good` bytes to a new file PATH.damaged-N, then cut it off."""
    aside = name_aside(path)
    with path.open("r+b") as file:
        file.seek(n_good)
        with aside.open("xb") as kept:
            while piece := file.read(COPY_BYTES):
                kept.write(piece)
            kept.flush()
            os.fsync(kept.fileno())
        sync_folder(path.parent)
        file.truncate(n_good)
        os.fsync(file.fileno())
    return aside
