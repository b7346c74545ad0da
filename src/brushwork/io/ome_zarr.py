"""OME-Zarr 0.5 written block by block: sharded zarr v3 through tensorstore, a pyramid, names and colours."""

import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from brushwork.blocks import Region, grid, whole
from brushwork.errors import InputError
from brushwork.image import ArrayImage
from brushwork.io.aside import told, write_error
from brushwork.io.layout import Layout
from brushwork.io.wrong import first_line

SMALLEST_LEVEL = 256
VERSION = "0.5"

Progress = Callable[[int, int], None]
Scaled = tuple[Layout, tuple[int, ...]]


class OmeZarrStore:
    """An OME-Zarr 0.5 image on a disk; owns the open arrays so that many threads can write to disjoint shards.

    Made by `create` or `open`. A shard that only holds zeros is not stored.
    """

    def __init__(self, path: Path, layout: Layout, array: Any, final: Path | None = None) -> None:
        self.path, self.layout, self._array = path, layout, array
        self._shown = final or path

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], layout: Layout, *, final: str | os.PathLike[str] | None = None
    ) -> "OmeZarrStore":
        """A new, empty volume; its folder must not exist yet or be empty.

        final : where the caller will move it when it is complete; errors name that path.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} exists already")
        shown = Path(final or path)
        with told(shown):
            path.mkdir(parents=True, exist_ok=True)
        store = cls(path, layout, _create_array(path / "0", layout, shown), shown)
        store._write_metadata(pyramid(layout)[:1])
        return store

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, final: str | os.PathLike[str] | None = None) -> "OmeZarrStore":
        """A volume that `create` made, to go on writing. final : see `create`."""
        path = Path(path)
        try:
            attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
            layout = _layout_from(attributes["brushwork"])
            array = ts.open(_spec(path / "0"), open=True, context=_context()).result()
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is no OME-Zarr that brushwork wrote ({first_line(error)})") from error
        return cls(path, layout, array, Path(final) if final is not None else None)

    def image(self) -> ArrayImage:
        """The volume as an image, to read from."""
        from brushwork.io.stored import settle
        from brushwork.io.zarr import read

        layout = self.layout
        return settle(read(str(self.path)), str(self.path), axes=layout.axes, level="0", pixel_size=layout.pixel_size)

    def task_regions(self) -> Iterator[Region]:
        """The units of work: regions that are exactly one shard each, frame by frame."""
        for t in range(self.layout.n_frames):
            yield from grid(whole(self.layout.shape, t), self.layout.shard)

    def write(self, region: Region, pixels: NDArray) -> None:
        """Store a region, (c, *spatial) of the layout's dtype. Threads may write at once where they share no shard."""
        expected = (self.layout.n_channels, *region.shape)
        if pixels.shape != expected or pixels.dtype != self.layout.dtype:
            wanted = f"{expected} {self.layout.dtype}"
            raise InputError(f"{self.path} takes {wanted} for this region; {pixels.shape} {pixels.dtype} was given")
        _write(self._array, self.layout, region, pixels, self._shown)

    def build_pyramid(self, progress: Progress | None = None) -> None:
        """Halve the volume until its largest axis is small: means, or of a segmentation the commonest class.

        One shard of a level is made at a time. progress : called with the shards done and their number.
        """
        levels = pyramid(self.layout)
        total = sum(_n_shards(layout) for layout, _ in levels[1:])
        done = 0
        finer = self._array
        for number, (layout, factors) in enumerate(levels[1:], start=1):
            ratio = [a // b for a, b in zip(factors, levels[number - 1][1])]
            method: Any = "mode" if not layout.has_channels or layout.dtype == np.bool_ else "mean"
            halved = ts.downsample(finer, [1] * (finer.rank - len(ratio)) + ratio, method)
            finer = _create_array(self.path / str(number), layout, self._shown)
            for t in range(layout.n_frames):
                for region in grid(whole(layout.shape, t), layout.shard):
                    _write(finer, layout, region, _gathered(halved, layout, region, self._shown), self._shown)
                    done += 1
                    if progress is not None:
                        progress(done, total)
        self._write_metadata(levels, _range(finer, self.layout))

    def _write_metadata(self, levels: "list[Scaled]", extremes: tuple[float, float] | None = None) -> None:
        attributes = {"ome": _ome(self.layout, levels, extremes), "brushwork": _layout_to(self.layout)}
        document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        new = self.path / "zarr.json.partial"
        with told(self._shown):
            new.write_text(json.dumps(document, indent=1))
            os.replace(new, self.path / "zarr.json")


def pyramid(layout: Layout) -> "list[Scaled]":
    """The levels: their layouts, and by how much each axis is reduced. An axis coarser than the others waits for them."""
    levels = [(layout, (1,) * len(layout.shape))]
    sizes = layout.pixel_size or (1.0,) * len(layout.shape)
    while max(levels[-1][0].shape) > SMALLEST_LEVEL:
        shape, factors = levels[-1][0].shape, levels[-1][1]
        now = [size * factor for size, factor in zip(sizes, factors)]
        finest = min(size for size, n in zip(now, shape) if n > 1)
        halved = [n > 1 and size < 1.415 * finest for size, n in zip(now, shape)]
        shape = tuple(-(-n // 2) if half else n for n, half in zip(shape, halved))
        factors = tuple(factor * 2 if half else factor for factor, half in zip(factors, halved))
        levels.append((replace(layout, shape=shape), factors))
    return levels


def _n_shards(layout: Layout) -> int:
    return layout.n_frames * math.prod(-(-n // e) for n, e in zip(layout.shape, layout.shard))


# ---------------------------------------------------------------- arrays


def _context() -> Any:
    """Nothing is cached: every shard is written once."""
    return ts.Context({"cache_pool": {"total_bytes_limit": 0}})


def _spec(path: Path) -> dict[str, Any]:
    return {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path.absolute()).replace("\\", "/") + "/"}}


def _create_array(path: Path, layout: Layout, shown: Path) -> Any:
    """A new array; one that an interrupted run left in its place is removed."""
    lead = (1,) * layout.has_time
    channels = (layout.n_channels,) * layout.has_channels
    inner = (*lead, *((1,) * layout.has_channels), *layout.chunk)
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    zstd = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
    sharding = {
        "chunk_shape": inner,
        "codecs": [little, zstd],
        "index_codecs": [little, {"name": "crc32c"}],
        "index_location": "end",
    }
    metadata = {
        "shape": layout.array_shape,
        "data_type": np.dtype(layout.dtype).name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": (*lead, *channels, *layout.shard)}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": False if layout.dtype == np.bool_ else 0,
        "dimension_names": list(layout.axes),
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }
    spec = _spec(path) | {"metadata": metadata, "create": True, "delete_existing": True}
    try:
        return ts.open(spec, context=_context()).result()
    except (ValueError, OSError) as error:
        raise write_error(shown, error) from error


def _key(layout: Layout, region: Region) -> tuple:
    return (region.t,) * layout.has_time + (slice(None),) * layout.has_channels + region.slices


def _write(array: Any, layout: Layout, region: Region, pixels: NDArray, path: Path) -> None:
    try:
        array[_key(layout, region)].write(pixels if layout.has_channels else pixels[0]).result()
    except (ValueError, OSError) as error:
        raise write_error(path, error) from error


def _gathered(averaged: Any, layout: Layout, region: Region, path: Path) -> NDArray:
    """A region of a halved array, made chunk by chunk: halving needs several times the memory of its result."""
    out = np.empty((layout.n_channels, *region.shape), layout.dtype)
    for part in grid(region, layout.chunk):
        try:
            pixels = averaged[_key(layout, part)].read().result()
        except (ValueError, OSError) as error:
            raise write_error(path, error) from error
        out[(slice(None), *part.slices_in(region))] = pixels
    return out


def _range(coarsest: Any, layout: Layout) -> tuple[float, float] | None:
    """The smallest and largest number of the coarsest level, for the contrast of an image."""
    if layout.kind not in ("image", "features"):
        return None
    pixels = coarsest.read().result()
    finite = pixels[np.isfinite(pixels)]
    return (float(finite.min()), float(finite.max())) if finite.size else None


# ---------------------------------------------------------------- metadata


def _ome(layout: Layout, levels: list[Scaled], extremes: tuple[float, float] | None) -> dict:
    scales = {
        "name": layout.name or layout.kind,
        "axes": [_axis(letter, layout) for letter in layout.axes],
        "datasets": [
            {"path": str(i), "coordinateTransformations": _transformations(layout, factors)}
            for i, (_, factors) in enumerate(levels)
        ],
        "type": "mean" if layout.has_channels else "mode",
    }
    ome: dict[str, Any] = {"version": VERSION, "multiscales": [scales]}
    if layout.kind == "objects":
        ome["image-label"] = {"version": VERSION}
    elif layout.kind == "segmentation":
        ome["image-label"] = _image_label(layout)
    else:
        ome["omero"] = {"channels": _omero_channels(layout, extremes)}
    return ome


def _axis(letter: str, layout: Layout) -> dict[str, str]:
    if letter == "c":
        return {"name": "c", "type": "channel"}
    if letter == "t":
        return {"name": "t", "type": "time"}
    unit = {"unit": "micrometer"} if layout.pixel_size is not None else {}
    return {"name": letter, "type": "space", **unit}


def _transformations(layout: Layout, factors: tuple[int, ...]) -> list[dict]:
    """Where a level lies: its pixels are larger, and its first one's centre moves by half of what was joined."""
    sizes = layout.pixel_size or (1.0,) * len(factors)
    lead = [1.0] * (len(layout.axes) - len(factors))
    scale = {"type": "scale", "scale": [*lead, *(size * factor for size, factor in zip(sizes, factors))]}
    if max(factors) == 1:
        return [scale]
    shift = [size * (factor - 1) / 2 for size, factor in zip(sizes, factors)]
    return [scale, {"type": "translation", "translation": [0.0 * v for v in lead] + shift}]


def _omero_channels(layout: Layout, extremes: tuple[float, float] | None) -> list[dict]:
    kind = np.dtype(layout.dtype)
    top = float(np.iinfo(kind).max) if kind.kind in "iu" else 1.0
    low, high = extremes or (0.0, top)
    window = {"min": min(low, 0.0), "max": max(high, top), "start": low, "end": high if high > low else low + 1.0}
    return [
        {"label": name, "color": color, "window": window, "active": i < 8}
        for i, (name, color) in enumerate(zip(layout.channel_names, layout.colors))
    ]


def _image_label(layout: Layout) -> dict:
    values = range(1, len(layout.channel_names) + 1)
    rgba = [[*bytes.fromhex(color), 255] for color in layout.colors]
    return {
        "version": VERSION,
        "colors": [{"label-value": value, "rgba": color} for value, color in zip(values, rgba)],
        "properties": [{"label-value": value, "class": name} for value, name in zip(values, layout.channel_names)],
    }


def _layout_to(layout: Layout) -> dict:
    fields = ("shape", "n_channels", "n_frames", "has_time", "channel_names", "colors", "pixel_size", "kind", "name")
    return {"dtype": np.dtype(layout.dtype).name} | {field: getattr(layout, field) for field in fields}


def _layout_from(document: dict) -> Layout:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }
    return Layout(**values)
