"""Work that may take a moment, beside what must be quick: one thing at a time, and asking again stops the one before."""

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
Stop = Callable[[], bool]


class Aside:
    """Owns one thread at a time."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[Stop], Result], done: Callable[[Result], None]) -> None:
        """Call `work` with a function that says whether to stop, and `done` with its result, both in a thread.

        After a further `run` or `stop` the result is of no use, and `done` is not called.
        """
        self.stop()
        stopped = self._stopped = threading.Event()

        def call() -> None:
            try:
                result = work(stopped.is_set)
                if not stopped.is_set():
                    done(result)
            except Exception as error:
                if not stopped.is_set():
                    self._failed(error)

        self._thread = threading.Thread(target=call, name="brushwork-aside", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def close(self, seconds: float = 0.25) -> None:
        """Stop, and wait a moment."""
        self.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)
