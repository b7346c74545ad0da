"""TIFF: plain, OME, ImageJ, tiled, striped, pyramids, BigTIFF; read by tifffile, page by page and piece by piece.

Pages that lie uncompressed in the file are mapped; of others only the tiles or strips that a slice touches are decoded.
"""

import logging
import math
import re
import struct
import threading
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from brushwork.errors import InputError, MissingPart
from brushwork.image import Sliceable
from brushwork.io.sources import PIECES, Mapped, Trimmed, Whole, full_key
from brushwork.io.stored import Level, Stored
from brushwork.io.units import to_um
from brushwork.io.wrong import first_line, not_readable

WANTED = "a TIFF image"
CHECKED_PAGES = 4096  # of longer files only the first and the last page are checked when they are opened
LARGEST_PLAUSIBLE_UM = 100.0
COLOUR = {2, 6}  # RGB, YCbCr
DAMAGE = (
    tifffile.TiffFileError,
    ValueError,
    LookupError,
    OSError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)
MOST_PACKED = 1 << 15  # times its size is the most that a tile or strip unpacks to
SMALL = 1 << 28  # bytes: so much is unpacked whatever it comes from
JPEG = {6, 7, 33007, 34892}

# tifffile reports damage through logging; without a handler Python would print it. Damage that matters is raised here.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read(uri: str) -> Stored:
    """What a TIFF file holds; `FILE.tif#2` is its third image (series)."""
    name, _, number = uri.rpartition("#") if re.search(r"#\d+$", uri) and not Path(uri).exists() else (uri, "", "")
    path = Path(name)
    try:
        file = tifffile.TiffFile(path)
    except DAMAGE as error:
        raise not_readable(path, WANTED, error) from error
    try:
        return _described(file, path, int(number) if number else None)
    except InputError:
        raise
    except DAMAGE as error:
        raise not_readable(path, WANTED, error) from error
    finally:
        file.filehandle.close()


def _described(file: Any, path: Path, number: int | None) -> Stored:
    series = _chosen_series(file, path, number)
    _check_codec(series.keyframe, path)
    axes = _axes(series)
    levels = _levels(file, series, axes, path)
    return Stored(levels, _brushwork_axes(axes, series, path), _channel_names(file, series))


# ---------------------------------------------------------------- which image


def _chosen_series(file: Any, path: Path, number: int | None) -> Any:
    if not file.series:
        raise InputError(f"{path} is a TIFF without any image in it")
    if number is not None:
        if number >= len(file.series):
            raise InputError(
                f"{path} holds {len(file.series)} images, #0 to #{len(file.series) - 1}; #{number} was asked for"
            )
        return file.series[number]
    first = file.series[0]
    rivals = [s for s in file.series[1:] if s.size >= first.size]
    if rivals:
        there = ", ".join(f"#{i} {s.name} ({' x '.join(map(str, s.shape))})" for i, s in enumerate(file.series[:8]))
        raise InputError(f"{path} holds {len(file.series)} images: {there}; name one, e.g. {path.name}#0")
    return first


def _check_codec(page: Any, path: Path) -> None:
    if page.compression == 1:
        return
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError:
        name = getattr(page.compression, "name", page.compression)
        raise MissingPart(f"{path} is compressed with {name}; reading it", "formats") from None


# ---------------------------------------------------------------- axes and metadata


def all_axes(series: Any) -> str:
    """The letters of all axes; tifffile before 2026.5 leaves out those of length 1 unless asked."""
    return series.get_axes(squeeze=False) if hasattr(series, "get_axes") else series.axes


def all_lengths(series: Any) -> tuple[int, ...]:
    """The lengths of `all_axes`."""
    return tuple(series.get_shape(squeeze=False) if hasattr(series, "get_shape") else series.shape)


def _axes(series: Any) -> str:
    """tifffile's letters for the axes of `TiffArray`, those of length 1 included."""
    letters, shape = all_axes(series), all_lengths(series)
    if letters.endswith("S") and shape[-1] == 1:
        letters = letters[:-1]
    return letters


def _brushwork_axes(letters: str, series: Any, path: Path) -> str | None:
    shape = all_lengths(series)
    lengths = dict(zip(letters, shape))
    if "S" in letters and "C" in letters:
        if lengths["C"] > 1:
            raise InputError(
                f"{path} holds {lengths['C']} channels of {lengths['S']} colours each; split it into one or the other"
            )
        return None
    axes = letters.replace("S", "C").lower()
    return axes if set(axes) <= set("tczyx") else None


def _channel_names(file: Any, series: Any) -> tuple[str, ...]:
    if "S" in series.axes and series.keyframe.photometric in COLOUR:
        return ("red", "green", "blue")
    if series.kind == "ome":
        pixels = _ome_pixels(file, series)
        names = [channel.get("Name") for channel in pixels.findall("{*}Channel")] if pixels is not None else []
        return tuple(names) if names and all(names) else ()
    if series.kind == "imagej" and "C" in series.axes:
        labels = (file.imagej_metadata or {}).get("Labels") or []
        n = series.shape[series.axes.index("C")]
        return tuple(labels) if len(labels) == n and all(labels) else ()
    return ()


def _ome_pixels(file: Any, series: Any) -> Any:
    try:
        root = ElementTree.fromstring(file.ome_metadata)
    except (ElementTree.ParseError, TypeError):
        return None
    pixels = root.findall("{*}Image/{*}Pixels")
    number = file.series.index(series)
    return pixels[number] if number < len(pixels) else None


def _pixel_size(file: Any, series: Any) -> dict[str, float]:
    """Micrometres by axis letter, of the finest level."""
    page = series.keyframe
    if series.kind == "ome":
        sizes = _ome_sizes(_ome_pixels(file, series))
    elif series.kind == "imagej":
        sizes = _imagej_sizes(page, file.imagej_metadata or {})
    elif mpp := re.search(r"MPP *= *([\d.]+)", page.description if series.kind == "svs" else ""):
        sizes = {"y": float(mpp[1]), "x": float(mpp[1])}
    else:
        sizes = _plain_sizes(page)
    return {axis: size for axis, size in sizes.items() if size is not None}


def _ome_sizes(pixels: Any) -> dict[str, float | None]:
    if pixels is None:
        return {}
    sizes = {}
    for axis in "zyx":
        value, unit = pixels.get(f"PhysicalSize{axis.upper()}"), pixels.get(f"PhysicalSize{axis.upper()}Unit", "um")
        sizes[axis] = to_um(float(value), unit) if value else None
    return sizes


def _imagej_sizes(page: Any, metadata: dict) -> dict[str, float | None]:
    unit = str(metadata.get("unit", ""))
    spacing = metadata.get("spacing")
    return {
        "z": to_um(abs(float(spacing)), str(metadata.get("zunit", unit))) if spacing else None,
        "y": to_um(_per_pixel(page, "YResolution"), str(metadata.get("yunit", unit))),
        "x": to_um(_per_pixel(page, "XResolution"), unit),
    }


def _plain_sizes(page: Any) -> dict[str, float | None]:
    """From the resolution in pixels per centimetre, if it can be a microscope's; per inch is what printers write."""
    if int(page.tags.valueof("ResolutionUnit", 2)) != 3:
        return {}
    sizes = {"y": to_um(_per_pixel(page, "YResolution"), "cm"), "x": to_um(_per_pixel(page, "XResolution"), "cm")}
    return sizes if all(size is not None and size < LARGEST_PLAUSIBLE_UM for size in sizes.values()) else {}


def _per_pixel(page: Any, tag: str) -> float | None:
    pixels, units = page.tags.valueof(tag, (0, 1))
    return units / pixels if pixels else None


# ---------------------------------------------------------------- pixels


def _levels(file: Any, series: Any, axes: str, path: Path) -> tuple[Level, ...]:
    finest = _pixel_size(file, series)
    full = dict(zip(axes.lower(), all_lengths(series)))
    levels, lock = [], threading.Lock()
    for number, level in enumerate(series.levels):
        source = _without_alpha(_source(file, level, path, lock), level.keyframe, axes)
        shape = dict(zip(axes.lower(), all_lengths(level)))
        sizes = {axis: size * (full[axis] / shape[axis]) for axis, size in finest.items() if axis in full}
        levels.append(Level(str(number), partial(_itself, source), sizes))
    return tuple(levels)


def _itself(source: Sliceable) -> Sliceable:
    return source


def _without_alpha(source: Sliceable, page: Any, axes: str) -> Sliceable:
    """RGB with one extra sample is RGB with transparency."""
    if page.photometric == 2 and page.samplesperpixel == 4 and "S" in axes:
        return Trimmed(source, axes.index("S"), 3)
    return source


def _source(file: Any, series: Any, path: Path, lock: threading.Lock) -> Sliceable:
    shape = tuple(all_lengths(series))
    if all_axes(series).endswith("S") and shape[-1] == 1:
        shape = shape[:-1]
    if len(series) == 1 and series.dataoffset is not None:
        dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
        _check_end(path, series.dataoffset + math.prod(shape) * dtype.itemsize)
        return Mapped(path, dtype, shape, series.dataoffset)
    page_shape = tuple(series.keyframe.shape)
    lead = shape[: len(shape) - len(page_shape)]
    if lead + page_shape != shape or math.prod(lead) != len(series):
        return Whole(shape, series.dtype, partial(_as_a_whole, path, file.series.index(series), shape))
    return TiffArray(file, series, shape, path, lock)


def _as_a_whole(path: Path, number: int, shape: tuple[int, ...]) -> NDArray:
    """For the rare files whose pages and axes do not match: tifffile joins them."""
    with tifffile.TiffFile(path) as file:
        series = file.series[number]
        if series.nbytes > SMALL + MOST_PACKED * path.stat().st_size:
            raise InputError(f"{path} is damaged: it says that it holds {series.nbytes:,} bytes of pixels")
        try:
            return series.asarray().reshape(shape)
        except Exception as error:  # every codec raises its own kind
            raise InputError(f"{path} is damaged: it cannot be decoded ({first_line(error)})") from error


class TiffArray:
    """The pages of a series as one array; owns the page table, which tifffile fills while pages are looked up."""

    def __init__(self, file: Any, series: Any, shape: tuple[int, ...], path: Path, lock: threading.Lock) -> None:
        self.shape, self.dtype, self._path = shape, np.dtype(series.dtype), path
        self._series, self._order, self._lock = series, file.byteorder, lock
        self._pages: dict[int, Any] = {}
        self._page_shape = tuple(series.keyframe.shape)
        self.by_plane = not series.keyframe.is_tiled and not series.keyframe.is_final
        self._lead = shape[: len(shape) - len(self._page_shape)]
        _ = series.keyframe.decode, series.keyframe.jpegheader  # these look into the file, which is still open now
        numbers = range(len(series)) if len(series) <= CHECKED_PAGES else (0, len(series) - 1)
        for number in numbers:
            self._check_page(number)

    def _page(self, number: int) -> Any:
        with self._lock:
            if number not in self._pages:
                self._pages[number] = self._looked_up(number)
            return self._pages[number]

    def _looked_up(self, number: int) -> Any:
        handle = self._series.keyframe.parent.filehandle
        was_closed = handle.closed
        handle.open()
        try:
            page = self._series[number]
        finally:
            if was_closed:
                handle.close()
        if page is None:
            raise InputError(f"{self._path}: page {number} of {len(self._series)} is missing")
        return page

    def _check_page(self, number: int) -> None:
        page = self._page(number)
        if not page.is_final:
            self._check_segments(page)
        pairs = zip(page.dataoffsets, page.databytecounts)
        _check_end(self._page_path(page), max((offset + count for offset, count in pairs if count), default=0))

    def _check_segments(self, page: Any) -> None:
        """Raise InputError where there are fewer tiles or strips than the page has room for, or one that cannot be so large."""
        frame, counts = Frame(page.keyframe), page.databytecounts
        n_bytes = math.prod(frame.edge) * self.dtype.itemsize
        if min(len(counts), len(page.dataoffsets)) < math.prod(frame.grid):
            raise InputError(
                f"{self._path} is damaged: of {math.prod(frame.grid)} tiles or strips there are {len(counts)}"
            )
        if n_bytes > SMALL + MOST_PACKED * max(counts, default=0):
            raise InputError(
                f"{self._path} is damaged: a tile or strip of {n_bytes:,} bytes is said to be in {max(counts):,}"
            )

    def _page_path(self, page: Any) -> Path:
        return Path(page.parent.filehandle.path)

    def __getitem__(self, key: Any) -> NDArray:
        key = full_key(key, len(self.shape))
        ranges = [range(n)[k] if isinstance(k, slice) else (k,) for k, n in zip(key, self.shape)]
        n_lead = len(self._lead)
        out = np.empty([len(r) for r in ranges], self.dtype)
        box = tuple(slice(r[0], r[-1] + 1) if len(r) else slice(0, 0) for r in ranges[n_lead:])
        if out.size:
            for places in product(*(enumerate(r) for r in ranges[:n_lead])):
                number = int(np.ravel_multi_index([at for _, at in places], self._lead)) if places else 0
                self._read_page(number, box, out[tuple(i for i, _ in places)])
        return out[tuple(slice(None) if isinstance(k, slice) else 0 for k in key)]

    def _read_page(self, number: int, box: tuple[slice, ...], out: NDArray) -> None:
        page = self._page(number)
        if page.is_final:
            dtype = self.dtype.newbyteorder(self._order)
            out[...] = Mapped(self._page_path(page), dtype, self._page_shape, page.dataoffsets[0])[box]
            return
        frame = Frame(page.keyframe)
        wanted = frame.full(box)
        whole_out = out.reshape([s.stop - s.start for s in wanted])
        for segment in frame.touched(wanted):
            piece = PIECES.get((self, number, segment), partial(self._decoded, page, number, segment))
            start = frame.start(segment)
            low = [max(a, s.start) for a, s in zip(start, wanted)]
            high = [min(a + n, s.stop) for a, n, s in zip(start, piece.shape, wanted)]
            to = tuple(slice(a - s.start, b - s.start) for a, b, s in zip(low, high, wanted))
            whole_out[to] = piece[tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start))]

    def _decoded(self, page: Any, number: int, segment: int) -> NDArray:
        """One tile or strip, (1, depth, height, width, samples), cut at the page's border."""
        keyframe = page.keyframe
        offset, count = page.dataoffsets[segment], page.databytecounts[segment]
        frame = Frame(keyframe)
        room = [n - a for n, a in zip(keyframe.shaped, frame.start(segment))]
        if count == 0:
            return np.full([min(a, b) for a, b in zip(room, frame.edge)], keyframe.nodata, self.dtype)
        tables = (
            {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader} if keyframe.compression in JPEG else {}
        )
        data = np.memmap(self._page_path(page), np.uint8, "r", offset, (count,)).tobytes()
        try:
            piece = keyframe.decode(data, segment, **tables)[0]
        except Exception as error:  # every codec raises its own kind
            place = f"page {number}, {'tile' if keyframe.is_tiled else 'strip'} {segment}"
            raise InputError(f"{self._path} is damaged: {place} cannot be decoded ({first_line(error)})") from error
        return piece[np.newaxis, : room[1], : room[2], : room[3]]


class Frame:
    """How the tiles or strips of a page lie in it: (separate sample, depth, row, column, sample)."""

    def __init__(self, keyframe: Any) -> None:
        self.shape = tuple(keyframe.shaped)
        depth = keyframe.tiledepth if keyframe.is_tiled else 1
        height = keyframe.tilelength if keyframe.is_tiled else min(keyframe.rowsperstrip, self.shape[2])
        width = keyframe.tilewidth if keyframe.is_tiled else self.shape[3]
        self.edge = (1, depth, height, width, self.shape[4])
        self.grid = tuple(-(-n // e) for n, e in zip(self.shape, self.edge))
        self._kept = [i for i, n in enumerate(self.shape) if i in (2, 3) or n > 1]

    def full(self, box: tuple[slice, ...]) -> list[slice]:
        """`box` over the page's own axes, as one over all five."""
        wanted = [slice(0, n) for n in self.shape]
        for axis, part in zip(self._kept, box, strict=True):
            wanted[axis] = part
        return wanted

    def start(self, segment: int) -> tuple[int, ...]:
        return tuple(int(i) * e for i, e in zip(np.unravel_index(segment, self.grid), self.edge))

    def touched(self, wanted: list[slice]) -> Iterator[int]:
        ranges = [range(s.start // e, -(-s.stop // e)) for s, e in zip(wanted, self.edge)]
        for index in product(*ranges):
            yield int(np.ravel_multi_index(index, self.grid))


def _check_end(path: Path, end: int) -> None:
    size = path.stat().st_size
    if end > size:
        raise InputError(
            f"{path} is truncated: its pixels reach to byte {end:,} but the file ends at byte {size:,}; copy it again"
        )
