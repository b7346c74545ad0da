"""Threads that do the most wanted piece of work first, while what is wanted changes."""

from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")


class Outcome(Generic[Item, Result]):
    """An item that was worked on, and what came of it."""

    def __init__(self, item: Item, future: "Future[Result]") -> None:
        self.item = item
        self._futures = [future]

    def result(self) -> Result:
        """What was computed; raises what went wrong. It can be asked once: errors would keep those who hold them alive."""
        return self._futures.pop().result()


class Workers:
    """Owns `n` threads, which live as long as this does: their arrays are used again from one piece of work to the next."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._pool = ThreadPoolExecutor(n, thread_name_prefix="brushwork-session")

    def each(self, wanted: Callable[[], list[Item]], do: Callable[[Item], Result]) -> Iterator[Outcome[Item, Result]]:
        """Do each item once; yields outcomes as they are ready.

        wanted : asked whenever a worker is free; what it returns first is begun first. What it raises ends the work: what has
            not begun is dropped, what is under way is not waited for.
        """
        begun: set[Item] = set()
        running: dict[Future[Result], Item] = {}
        try:
            while True:
                new = (item for item in wanted() if item not in begun)
                for item in list(islice(new, self.n - len(running))):
                    begun.add(item)
                    running[self._pool.submit(do, item)] = item
                if not running:
                    return
                done = wait(running, return_when=FIRST_COMPLETED).done
                while done:
                    future = done.pop()
                    yield Outcome(running.pop(future), future)
        finally:
            for future in running:
                future.cancel()

    def close(self) -> None:
        """End the threads; waits for what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)
