"""Feature rows and maps that are kept where computing them again would take longer, under a budget of bytes."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.features import FeatureSet
from brushwork.image import Image
from brushwork.labels import Labels
from brushwork.training import rows_at, rows_of

# Maps that one thread makes faster than this are made anew. In 2D (preset "all": 4 GB/s) keeping them would save less than half of
# a prediction and fill the memory with one view; a plane of a stack, which needs a slab around it, is made at 0.15 GB/s.
WORTH_KEEPING = 1e9  # bytes per second
SHARE_OF_ROWS = 1 / 2  # of the budget


class MapsKey(NamedTuple):
    """Whose maps: numbers of the image and of the resolved features, and where."""

    image: int
    features: int
    region: Region


class RowsKey(NamedTuple):
    """Whose rows: numbers of the image and of the resolved features; of painted pixels, or of a sample around them."""

    image: int
    features: int
    are_painted: bool


Key = MapsKey | RowsKey
Arrays = tuple[NDArray[Any], ...]


class Kept:
    """Arrays under a budget of bytes; those that were used longest ago go first. Owns them; safe between threads."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._lock = threading.RLock()
        self._entries: OrderedDict[Key, Arrays] = OrderedDict()
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        return self._n_bytes

    def keys(self) -> list[Key]:
        with self._lock:
            return list(self._entries)

    def get(self, key: Key) -> Arrays | None:
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def fits(self, n_bytes: int, firm: Collection[Key] = ()) -> bool:
        """Whether there is room when everything but the `firm` keys goes."""
        with self._lock:
            return n_bytes + sum(_size(self._entries.get(key, ())) for key in firm) <= self.budget

    def put(self, key: Key, arrays: Arrays, firm: Collection[Key] = ()) -> None:
        """Keep `arrays` where they fit beside the `firm` keys; others make room."""
        with self._lock:
            self._drop(key)
            size = _size(arrays)
            if not self.fits(size, firm):
                return
            for oldest in [k for k in self._entries if k not in firm]:
                if self._n_bytes + size <= self.budget:
                    break
                self._drop(oldest)
            self._entries[key] = arrays
            self._n_bytes += size

    def retain(self, is_wanted: Callable[[Key], bool]) -> None:
        """Drop every entry whose key is not wanted."""
        with self._lock:
            for key in [k for k in self._entries if not is_wanted(k)]:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        self._n_bytes -= _size(self._entries.pop(key, ()))


def _size(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays)


class FeatureCache:
    """What was computed of the images in use. Owns the arrays; safe between threads.

    Maps of a region and rows of a pixel have the same bits wherever they come from, as blocks equal whole.
    """

    def __init__(self, budget: int) -> None:
        """budget : bytes of rows and maps together."""
        self.rows = Kept(int(budget * SHARE_OF_ROWS))
        self.maps = Kept(budget - self.rows.budget)
        self._lock = threading.RLock()
        self._images: dict[
            int, tuple[Image, int]
        ] = {}  # id of an image in use: it, and a number that no other ever had
        self._n_images = 0
        self._features: dict[FeatureSet, int] = {}
        self._last_features: tuple[FeatureSet | None, int] = None, -1
        self._speeds: dict[tuple[int, int, tuple[int, ...]], float] = {}

    @property
    def n_bytes(self) -> int:
        return self.rows.n_bytes + self.maps.n_bytes

    def use(self, images: Iterable[Image]) -> None:
        """These images are in use; what is kept of others is dropped. Images are told apart as objects."""
        with self._lock:
            before, self._images = self._images, {}
            for image in images:
                if id(image) not in before:
                    before[id(image)] = image, self._n_images
                    self._n_images += 1
                self._images[id(image)] = before[id(image)]
            numbers = {number for _, number in self._images.values()}
            self._speeds = {key: speed for key, speed in self._speeds.items() if key[0] in numbers}
            for kept in (self.rows, self.maps):
                kept.retain(lambda key: key.image in numbers)

    def _number(self, image: Image) -> int | None:
        """Its number, None where it is not in use."""
        found = self._images.get(id(image))
        return found[1] if found and found[0] is image else None

    def _number_of(self, features: FeatureSet) -> int:
        """Equal sets have equal numbers; hashing the set each time would cost more than the look-up."""
        last, number = self._last_features
        if last is not features:
            with self._lock:
                number = self._features.setdefault(features, len(self._features))
            self._last_features = features, number
        return number

    def _keep(self, kept: Kept, key: Key, arrays: Arrays, firm: Collection[Key] = ()) -> None:
        """Keep arrays of an image, unless it went out of use meanwhile."""
        with self._lock:
            if key.image in (number for _, number in self._images.values()):
                kept.put(key, arrays, firm)

    # -- rows ----------------------------------------------------------------------------------------------------------------

    def rows_of(
        self,
        image: Image,
        features: FeatureSet,
        labels: Labels,
        *,
        threads: int | None = None,
        go_on: Callable[[], None] = lambda: None,
    ) -> NDArray[np.float32]:
        """training.rows_of for labels that paint no pixel twice; only rows that are not kept are computed.

        go_on : called between cells, may raise to stop.
        """
        number = self._number(image)
        if number is None:
            return rows_of(image, features, labels, threads=threads)
        key = RowsKey(number, self._number_of(features), bool(labels.classes.any()))  # samples have no classes

        def made(image: Image, features: FeatureSet, t: int, at: NDArray[np.int64]) -> NDArray[np.float32]:
            go_on()
            return self._made_rows(key, image, features, t, at)

        where = np.ravel_multi_index((labels.frames, *labels.positions.T), (image.n_frames, *image.shape))
        table = RowTable(*(self.rows.get(key) or RowTable.blank(features.n_maps)))
        is_missing = ~_are_in(where, table.where)
        if is_missing.any():
            new = rows_of(image, features, labels.chosen(is_missing), threads=threads, rows_at=made)
            room = self.rows.budget // 2 // (4 * features.n_maps + 16)  # rows; half is for the sample around them
            if len(table.where) + len(new) > room:
                table = table.only(where)  # what is asked for now is what counts
            table = table.grown(where[is_missing], new, room)
            self._keep(self.rows, key, table)
        return table.rows[table.slots[np.searchsorted(table.where, where)]]

    def _made_rows(
        self, whose: RowsKey, image: Image, features: FeatureSet, t: int, at: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Rows from kept maps where these cover a position, else computed."""
        rows = np.empty((len(at), features.n_maps), np.float32)
        is_missing = np.ones(len(at), bool)
        for key in self._maps_near(whose, t, at):
            inside = is_missing & ((at >= key.region.start) & (at < key.region.stop)).all(1)
            found = self.maps.get(key)
            if found is not None and inside.any():
                index = np.ravel_multi_index(tuple((at[inside] - key.region.start).T), key.region.shape)
                rows[inside] = found[0].reshape(features.n_maps, -1)[:, index].T
                is_missing &= ~inside
        if is_missing.any():
            rows[is_missing] = rows_at(image, features, t, at[is_missing])
        return rows

    def _maps_near(self, whose: RowsKey, t: int, at: NDArray[np.int64]) -> list[MapsKey]:
        """Kept maps whose region may hold one of the positions."""
        low, high = at.min(0), at.max(0)
        mine = [k for k in self.maps.keys() if isinstance(k, MapsKey) and k[:2] == whose[:2] and k.region.t == t]  # noqa: SIM118
        return [k for k in mine if (low < k.region.stop).all() and (high >= k.region.start).all()]

    # -- maps ----------------------------------------------------------------------------------------------------------------

    def maps_of(
        self,
        image: Image,
        features: FeatureSet,
        region: Region,
        *,
        wanted: Iterable[Region] = (),
        go_on: Callable[[], None] = lambda: None,
    ) -> NDArray[np.float32] | None:
        """(n_maps, *spatial) of a region, kept or from now on kept; None where they are better made when they are needed.

        wanted : regions whose maps are not dropped for these. go_on : called between tiles, may raise to stop.
        """
        number = self._number(image)
        if number is None:
            return None
        key = MapsKey(number, self._number_of(features), region)
        found = self.maps.get(key)
        if found is not None:
            return found[0]
        kind = (*key[:2], region.shape)
        firm = {MapsKey(*key[:2], other) for other in wanted}
        if self._speeds.get(kind, 0) >= WORTH_KEEPING or not self.maps.fits(4 * features.n_maps * region.size, firm):
            return None
        maps, speed = _timed_maps(image, features, region, go_on)
        with self._lock:
            # The best counts: loading machine code and busy processors only make it slower.
            self._speeds[kind] = speed = max(self._speeds.get(kind, 0), speed)
        if speed < WORTH_KEEPING:
            self._keep(self.maps, key, (maps,), firm)
        return maps


class RowTable(NamedTuple):
    """Rows by where their pixels are: a value, though tables that grow from each other share a buffer of rows.

    where : (n,) int64, sorted. slots : (n,) int64, the row of each. rows : (capacity, n_maps); the first n are in use.
    """

    where: NDArray[np.int64]
    slots: NDArray[np.int64]
    rows: NDArray[np.float32]

    @staticmethod
    def blank(n_maps: int) -> "RowTable":
        return RowTable(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, n_maps), np.float32))

    def grown(self, where: NDArray[np.int64], rows: NDArray[np.float32], room: int = 0) -> "RowTable":
        """With further rows; those there are stay where they lie, unless the buffer is full. room : rows that it may grow to."""
        n, more = len(self.where), len(where)
        buffer = self.rows
        if n + more > len(buffer):
            buffer = np.empty((max(min(2 * (n + more), room), n + more), buffer.shape[1]), np.float32)
            buffer[:n] = self.rows[:n]
        buffer[n : n + more] = rows
        at = np.concatenate([self.where, where])
        order = np.argsort(at, kind="stable")
        return RowTable(at[order], np.concatenate([self.slots, np.arange(n, n + more)])[order], buffer)

    def only(self, where: NDArray[np.int64]) -> "RowTable":
        """Of these pixels only."""
        mine = np.isin(self.where, where)
        blank = RowTable.blank(self.rows.shape[1])
        return blank.grown(self.where[mine], self.rows[self.slots[mine]])


def _are_in(values: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.bool_]:
    """np.isin for `among` that is sorted, in a quarter of its time."""
    if not len(among):
        return np.zeros(len(values), bool)
    return among[np.searchsorted(among, values).clip(max=len(among) - 1)] == values


def _timed_maps(
    image: Image, features: FeatureSet, region: Region, go_on: Callable[[], None]
) -> tuple[NDArray[np.float32], float]:
    """(maps as FeatureSet.at makes them, bytes per second without the copying)."""
    out = np.empty((features.n_maps, *region.shape), np.float32)
    tiles = features.tiles(image, features.block(image, region))
    seconds = 0.0
    while True:
        go_on()
        began = time.perf_counter()
        made = next(tiles, None)
        seconds += time.perf_counter() - began
        if made is None:
            return out, out.nbytes / max(seconds, 1e-9)
        tile, maps = made
        valid = tuple(slice(0, n) for n in tile.shape)
        out[(slice(None), *tile.slices_in(region))] = maps[(slice(None), *valid)]
