"""The saved document: which process may change it, how changes reach the disk, and the states that can be restored."""

import atexit
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from brushwork import project_folder as files
from brushwork.changes import applied
from brushwork.document import Document
from brushwork.errors import InputError, RunError
from brushwork.io.aside import FULL, told, write_error
from brushwork.io.locks import locked
from brushwork.journal import Journal, Record, name_aside
from brushwork.project_folder import Point
from brushwork.project_suffix import SUFFIX

MANY_RECORDS = 1000  # from which closing makes a snapshot, so that opening stays quick
Failed = Callable[[Exception], None]


class Ledger:
    """The owner of change of a document: the only one who replaces it, and who writes its folder.

    document : the present state, a value. why_read_only : in words, "" where changes are possible. notes : what was found
    damaged or unfinished on opening, in words. Any thread may call any method.
    """

    def __init__(
        self, folder: Path, journal: Journal, document: Document, held: ExitStack, failed: Failed, n_records: int
    ) -> None:
        self.folder, self.document = folder, document
        self.notes: tuple[str, ...] = ()
        self.why_read_only = ""
        self.changing = threading.RLock()
        self._journal, self._held, self._failed = journal, held, failed
        self._n_records = n_records  # in the journal's present file
        self._summarised = -1  # the change after which project.json was written

    @staticmethod
    def open(folder: Path, failed: Failed) -> "Ledger":
        """The ledger of a folder that exists; of an empty one, a new one.

        failed : is told, from another thread, when changes cannot be written; they stay in memory and are tried again.
        Raises InputError where the folder is no project, or one of a newer version.
        """
        is_new = not any(p.name != files.LOCK for p in folder.iterdir()) and folder.suffix == SUFFIX
        if not is_new and not files.is_project(folder):
            raise InputError(f"{folder} is not a project: it holds no {files.SUMMARY} and no {files.LOG}")
        n_known, wrong = (0, ()) if is_new else files.check_summary(folder)
        held = ExitStack()
        atexit.register(held.close)  # programs that end without closing leave no lock; the journal is flushed before
        why, was_left = _taken(folder, held)
        try:
            ledger = _read(folder, held, failed, why)
            ledger.notes = (*wrong, *ledger.notes)
            if was_left:
                ledger.notes += (f"the project was not closed the last time; {_counted(ledger.document)} are here",)
            if n_known > ledger.document.serial:
                ledger._note_what_is_lost(n_known)
            if not ledger.why_read_only:
                ledger._begin()
        except BaseException:
            held.close()
            atexit.unregister(held.close)
            raise
        return ledger

    def _note_what_is_lost(self, n_known: int) -> None:
        """Say that project.json tells of more changes than there are, and keep it, as it lists images and classes."""
        kept = ""
        if not self.why_read_only:
            aside = files.keep_summary(self.folder)
            kept = f"; {aside.name} still lists its images and classes"
        here = self.document.serial
        self.notes += (
            f"{files.SUMMARY} tells of {n_known} changes, {here} are here; bring back a copy of the rest{kept}",
        )

    def _begin(self) -> None:
        if self.document.serial == 0:
            self.change("begin", {"version": self.document.version})
            self._flush_journal()
        with suppress(InputError, RunError):  # a full disk must not keep anyone from what is there
            self._summarise()

    @property
    def unsaved(self) -> int:
        """Changes that are not on disk yet."""
        return self._journal.unsaved

    def change(self, kind: str, facts: dict[str, Any], payload: bytes = b"") -> Document:
        """Apply a change (changes.CHANGES) and hand it to the journal; returns the new document.

        Raises InputError, and nothing has changed, where it does not fit the document or nothing may be changed.
        """
        with self.changing:
            return self._put(
                Record({"n": self.document.serial + 1, "kind": kind, "when": time.time(), **facts}, payload)
            )

    def _put(self, record: Record) -> Document:
        self.check_writable()
        changed = applied(self.document, record)
        if changed.version > self.document.version and record.header["kind"] != "begin":
            # programs that do not know this version must stop here, not read half of what follows
            self.change("begin", {"version": changed.version})
            return self._put(Record(record.header | {"n": self.document.serial + 1}, record.payload))
        self._journal.append(record)
        self._n_records += 1
        self.document = changed
        return changed

    def check_writable(self) -> None:
        """Raise InputError where nothing may be changed."""
        if self.why_read_only:
            raise InputError(f"nothing can be changed: {self.why_read_only}")

    def flush(self) -> None:
        """Wait until every change is on disk. Raises RunError where that fails; changes stay in memory then."""
        self._flush_journal()  # without holding up changes
        with self.changing:
            if not self.why_read_only and self._summarised < self.document.serial:
                self._summarise()

    def _flush_journal(self) -> None:
        try:
            self._journal.flush()
        except OSError as error:
            raise _unsaved(self.folder, error) from error

    def _summarise(self) -> None:
        files.write_summary(self.folder, self.document)
        self._summarised = self.document.serial

    def close(self) -> None:
        """Save and let go of the folder. Raises RunError, and stays open, where changes cannot be written."""
        with self.changing:
            self._flush_journal()
            if not self.why_read_only:
                with suppress(InputError, RunError):  # what matters is in the journal
                    if self._n_records >= MANY_RECORDS:
                        self.snapshot()
                    if self._summarised < self.document.serial:
                        self._summarise()
            self._journal.close()
            self.why_read_only = self.why_read_only or f"{self.folder} was closed; open it again"
            self._held.close()
            atexit.unregister(self._held.close)

    # ---------------------------------------------------------------- history

    def snapshot(self) -> Point:
        """Keep the present state as one that can be restored, and begin a new journal behind it. The last ten are kept."""
        with self.changing:
            self.check_writable()
            self._flush_journal()
            there = files.points(self.folder)
            if there and there[0].serial == self.document.serial:
                return there[0]
            point = files.write_point(self.folder, self.document)
            with told(self.folder):
                self._journal.restart(files.log_behind(point))
            self._n_records = 0
            files.forget_old_points(self.folder)
            self._summarise()
            return point

    def restore(self, point: Point) -> Document:
        """Go back to a point. The present state becomes a point itself: nothing is deleted."""
        with self.changing:
            self.check_writable()
            record = files.restore_record(point)  # read first: a further point may push this one out
            self.snapshot()
            return self._put(Record(record.header | {"n": self.document.serial + 1}, record.payload))


def _taken(folder: Path, held: ExitStack) -> tuple[str, bool]:
    """Take the lock of a folder. Returns why that was not possible, in words, and whether somebody had left one behind."""
    path = folder / files.LOCK
    was_left = path.exists()
    try:
        held.enter_context(locked(path, str(folder)))
        return "", was_left
    except (InputError, RunError, OSError) as error:
        host, pid = [*_words(path), "", ""][:2]
        if not pid:
            return f"{folder} cannot be written ({error})", False
        who = f"process {pid} on {host}"
        return (
            f"{folder.name} is open in another program ({who}), so here it can only be looked at; close it there, or delete "
            f"{path} if that process is not running any more"
        ), False


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _read(folder: Path, held: ExitStack, failed: Failed, why_read_only: str) -> Ledger:
    """The ledger of a folder whose lock was tried."""
    path, notes = folder / files.LOG, []

    def tell(error: Exception) -> None:
        failed(_unsaved(folder, error))

    try:
        journal, records = Journal.open(path, failed=tell, read_only=bool(why_read_only))
    except OSError as error:
        if why_read_only:
            raise write_error(path, error) from error
        held.close()  # what cannot be written can still be looked at
        return _read(folder, held, failed, str(write_error(path, error)))
    if journal.left_aside is not None:
        n = journal.left_aside.stat().st_size
        notes.append(
            f"{files.LOG} was damaged or cut off after {len(records)} whole changes; the {n} bytes from there on are kept in "
            f"{journal.left_aside.name}"
        )
    try:
        loaded = files.load(folder, records)
        if not why_read_only:
            files.set_aside(loaded.damaged)
            if loaded.is_broken:
                journal.restart(name_aside(path))
                records = []
    except BaseException:
        journal.close()
        raise
    ledger = Ledger(folder, journal, loaded.document, held, failed, len(records))
    ledger.notes, ledger.why_read_only = (*notes, *loaded.notes), why_read_only
    return ledger


def _unsaved(folder: Path, error: Exception) -> Exception:
    """The error for changes that could not be written."""
    number = getattr(error, "errno", None)
    reason = FULL.get(number) if number else None
    return RunError(
        f"changes of {folder.name} could not be saved: {reason or error}. They are kept in memory and tried again with the next "
        "change: free some space, or keep the program open until it works"
    )


def _counted(document: Document) -> str:
    strokes = [s for task in document.tasks for s in task.strokes if not s.undone]
    last = max((s.when for s in strokes), default=0)
    at = f", the last of {time.strftime('%Y-%m-%d %H:%M', time.localtime(last))}," if last else ""
    return f"all its {len(strokes)} strokes{at}"
