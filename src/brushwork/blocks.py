"""Regions, blocks with their halo, grids of blocks, and running a function over many of them."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice, product
from typing import TypeVar

from brushwork.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Region:
    """A box of pixels of one frame.

    start, stop : pixels, one number per spatial axis; the box is start <= p < stop.
    t : the frame, 0 where the image has no time.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    t: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(b - a for a, b in zip(self.start, self.stop))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop))

    def grown(self, halo: Sequence[int]) -> "Region":
        """The box with `halo` pixels more on both sides of each axis; it may leave the image."""
        start = tuple(a - h for a, h in zip(self.start, halo))
        return Region(start, tuple(b + h for b, h in zip(self.stop, halo)), self.t)

    def clipped(self, shape: Sequence[int]) -> "Region":
        """The part of the box that lies inside an image of `shape`."""
        start = tuple(min(max(a, 0), n) for a, n in zip(self.start, shape))
        return Region(start, tuple(max(min(b, n), a) for a, b, n in zip(start, self.stop, shape)), self.t)

    def slices_in(self, outer: "Region") -> tuple[slice, ...]:
        """Where this box lies in an array that holds `outer`."""
        return tuple(slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start))


@dataclass(frozen=True)
class Block:
    """A unit of work: what is written, and what has to be read for it (write + halo, inside the image)."""

    write: Region
    read: Region

    @property
    def crop(self) -> tuple[slice, ...]:
        """Where `write` lies in an array that holds `read`."""
        return self.write.slices_in(self.read)


def whole(shape: Sequence[int], t: int = 0) -> Region:
    """The region of a whole frame."""
    return Region((0,) * len(shape), tuple(shape), t)


def middle(shape: Sequence[int], edge: Sequence[int]) -> Region:
    """A box of `edge` pixels in the middle of an image, smaller where the image is."""
    start = tuple(max(n // 2 - e // 2, 0) for n, e in zip(shape, edge))
    return Region(start, tuple(min(a + e, n) for a, e, n in zip(start, edge, shape)))


def block_around(write: Region, halo: Sequence[int], shape: Sequence[int]) -> Block:
    """The block that writes `write` in an image of `shape` and sees `halo` pixels around it."""
    return Block(write, write.grown(halo).clipped(shape))


def grid(region: Region, edge: Sequence[int]) -> Iterator[Region]:
    """Boxes of `edge` pixels, aligned to the origin, that cover `region`; the outer ones are clipped to it."""
    ranges = [range(a // e, -(-b // e)) for a, b, e in zip(region.start, region.stop, edge)]
    for index in product(*ranges):
        start = tuple(max(i * e, a) for i, e, a in zip(index, edge, region.start))
        stop = tuple(min((i + 1) * e, b) for i, e, b in zip(index, edge, region.stop))
        yield Region(start, stop, region.t)


def available_threads() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(threads: int | None) -> int:
    """`threads`, or all processors for None; at least one is asked for."""
    if threads is None:
        return available_threads()
    if threads < 1:
        raise InputError(f"{threads} threads were asked for; give 1 or more, or nothing for all {available_threads()}")
    return threads


def run_over(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int | None = None,
) -> Iterator[tuple[Item, Result]]:
    """Apply `function` to every item in threads; yield (item, result) as they are ready, in any order.

    Only two items per thread are under way at a time, so `items` may be endless. An error in `function` ends the run: what has
    not begun is dropped, what is under way is waited for, and the error is raised here; so it is when the caller leaves early.
    """
    n = thread_count(threads)
    items = iter(items)
    with ThreadPoolExecutor(n, thread_name_prefix="brushwork") as pool:
        running: dict[Future[Result], Item] = {}
        try:
            running = {pool.submit(function, item): item for item in islice(items, 2 * n)}
            while running:
                # A wait without a timeout cannot be interrupted by Ctrl-C on every platform.
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    item = running.pop(future)
                    yield item, future.result()
                    for new in islice(items, 1):
                        running[pool.submit(function, new)] = new
        finally:
            for future in running:
                future.cancel()
