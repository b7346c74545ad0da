"""From a block of an image to tiles of feature maps: reads and mirrors the block, then drives the kernels.

Tiles are small enough that a forest reads the maps while they are still in cache. One buffer of maps is used for all tiles of
a block. Which pixels share a tile never changes a value.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Block, Region
from brushwork.errors import InputError
from brushwork.image import Image
from brushwork.kernels import scale2d, scale3d
from brushwork.kernels.filters import STENCIL_RADIUS, presmoothing, stencil_coefficients
from brushwork.kernels.mirror import gather, mirrored
from brushwork.kernels.simd import LANES
from brushwork.scalespace import BUILT_IN, FAMILIES, ScaleSpace

TILE_WIDTH = 256
TILE_HEIGHT = 64
SPARE_ARRAYS = 4  # per thread
TILE_BYTES = 4 << 20  # of all maps of a tile; larger ones leave the caches
OUTPUTS_2D = {
    "gaussian": scale2d.GAUSSIAN,
    "laplacian": scale2d.LAPLACIAN,
    "gradient-magnitude": scale2d.MAGNITUDE,
    "difference-of-gaussians": scale2d.DIFFERENCE,
    "structure-tensor": scale2d.TENSOR,
    "hessian": scale2d.HESSIAN,
}
OUTPUTS_3D = {
    "gaussian": scale3d.GAUSSIAN,
    "laplacian": scale3d.LAPLACIAN,
    "gradient-magnitude": scale3d.MAGNITUDE,
    "difference-of-gaussians": scale3d.DIFFERENCE,
    "structure-tensor": scale3d.TENSOR,
    "hessian": scale3d.HESSIAN,
}
N_OUTPUTS_3D = 10


class Request(NamedTuple):
    """The maps of one family on one channel at one scale, and where they belong.

    sigmas : pixels per axis of the image. maps : positions first .. first + n_maps - 1.
    """

    family: str
    channel: int
    sigmas: tuple[float, ...]
    per_section: bool
    dialect: str
    first: int
    n_maps: int

    @property
    def is_built_in(self) -> bool:
        return self.family in BUILT_IN


Requests = tuple[Request, ...]
_spare = threading.local()


@contextmanager
def borrowed(*shape: int) -> Iterator[NDArray[np.float32]]:
    """A float32 array that this thread may have used before: fresh pages cost a third of the time of a block.

    It goes back to the thread's spare arrays at the end, of which the last few are kept while the thread lives.
    """
    spare: list[NDArray[np.float32]] = _spare.__dict__.setdefault("arrays", [])
    size = math.prod(shape)
    fitting = [i for i, array in enumerate(spare) if size <= array.size <= 2 * size]
    array = spare.pop(fitting[-1]) if fitting else np.empty(size, np.float32)
    try:
        yield array[:size].reshape(shape)
    finally:
        spare.append(array)
        del spare[:-SPARE_ARRAYS]


def halo(requests: Requests) -> tuple[int, ...]:
    """Pixels read around a block, per axis."""
    return tuple(np.max([_reach(r) for r in requests], axis=0).tolist())


@lru_cache(maxsize=1024)  # asked for every block, by requests that are the same each time
def _reach(request: Request) -> tuple[int, ...]:
    lengths = tuple(len(presmoothing(s)) - 1 + FAMILIES[request.family].reach(s) for s in request.sigmas)
    return (0, *lengths[1:]) if request.per_section and len(lengths) == 3 else lengths


def tiles(requests: Requests, image: Image, block: Block) -> Iterator[tuple[Region, NDArray[np.float32]]]:
    """See FeatureSet.tiles."""
    pixels = image.read(block.read)
    _refuse_unusable_pixels(pixels, image, block.read)
    if pixels.ndim == 3:  # a 2D image is a stack of one section from here on
        flat = tuple(r._replace(sigmas=(1.0, *r.sigmas)) for r in requests)
        for region, maps in _stack_tiles(flat, pixels[:, np.newaxis], (1, *image.shape), _as_stack(block)):
            yield Region(region.start[1:], region.stop[1:], region.t), maps[:, 0]
    else:
        yield from _stack_tiles(requests, pixels, image.shape, block)


def _as_stack(block: Block) -> Block:
    return Block(*(Region((0, *r.start), (1, *r.stop), r.t) for r in (block.write, block.read)))


def _refuse_unusable_pixels(pixels: NDArray[np.float32], image: Image, region: Region) -> None:
    if image.dtype.kind == "f" and not np.isfinite(pixels).all():
        at = np.argwhere(~np.isfinite(pixels))[0]
        where = tuple(int(a + s) for a, s in zip(at[1:], region.start))
        raise InputError(
            f"{image.uri or 'the image'} holds {pixels[tuple(at)]} at {where}, channel {image.channel_names[at[0]]}; "
            "replace NaN and infinite pixels first, e.g. with numpy.nan_to_num"
        )


def _stack_tiles(
    requests: Requests, pixels: NDArray[np.float32], shape: tuple[int, ...], block: Block
) -> Iterator[tuple[Region, NDArray[np.float32]]]:
    sections = Sections.of(requests)
    in_3d = [r for r in requests if r.is_built_in and not r.per_section]
    own = _own_maps(tuple(r for r in requests if not r.is_built_in), pixels, shape, block)
    n_maps = sum(r.n_maps for r in requests)
    if in_3d:
        made = _volume_tiles(in_3d, sections, n_maps, pixels, shape, block)
    else:
        made = _section_tiles(sections, n_maps, pixels, shape, block)
    for region, maps in made:
        for position, map_ in own:
            valid = tuple(slice(0, n) for n in region.shape)
            maps[position][valid] = map_[region.slices_in(block.write)]
        yield region, maps


def _scales(requests: Sequence[Request]) -> dict[tuple[int, tuple[float, ...], bool], list[Request]]:
    """Requests that are computed together: by channel, sigmas, and whether their structure tensor is that of ilastik before 1.3."""
    former = {(r.channel, r.sigmas) for r in requests if r.dialect}
    found: dict[tuple[int, tuple[float, ...], bool], list[Request]] = {}
    for r in requests:
        joins = r.family != "structure-tensor" and (r.channel, r.sigmas) in former
        found.setdefault((r.channel, r.sigmas, bool(r.dialect) or joins), []).append(r)
    return found


# -- sections: maps in 2D, kernels.scale2d -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ScaleTable:
    """The scales of one channel as kernels.scale2d takes them; see `scales_of_tile` for the shapes."""

    weights: NDArray[np.float32]
    radii: NDArray[np.int64]
    coefficients: NDArray[np.float32]
    wanted: NDArray[np.int64]
    outputs: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sections:
    """All built-in maps in 2D: what to compute on which channel."""

    channels: tuple[tuple[int, ScaleTable], ...]
    radius: int
    positions: list[int]  # of these maps among all

    @staticmethod
    @lru_cache(maxsize=64)
    def of(requests: Requests) -> "Sections":
        mine = [r for r in requests if r.is_built_in and r.per_section]
        trash = sum(r.n_maps for r in requests)
        tables = tuple(
            (c, _scale_table([r for r in mine if r.channel == c], trash))
            for c in dict.fromkeys(r.channel for r in mine)
        )
        positions = [r.first + i for r in mine for i in range(r.n_maps)]
        return Sections(tables, max((int(t.radii.max()) for _, t in tables), default=0), positions)


def _scale_table(requests: Sequence[Request], trash: int) -> ScaleTable:
    scales = _scales(requests)
    in_plane = [sigmas[-2:] for _, sigmas, _ in scales]
    kernels = [[presmoothing(s) for s in sigmas] for sigmas in in_plane]
    radii = np.array([[len(k) - 1 for k in pair] for pair in kernels])
    weights = np.zeros((len(scales), 2, radii.max() + 1), np.float32)
    for i, pair in enumerate(kernels):
        for j, k in enumerate(pair):
            weights[i, j, : len(k)] = k
    outputs = np.full((len(scales), scale2d.N_OUTPUTS), trash)
    wanted = np.full(len(scales), scale2d.ONLY_GAUSSIAN)
    for i, ((_, _, former), together) in enumerate(scales.items()):
        tensor = scale2d.WITH_FORMER_TENSOR if former else scale2d.EVERYTHING
        needs = {"gaussian": scale2d.ONLY_GAUSSIAN, "structure-tensor": tensor}
        for r in together:
            at = OUTPUTS_2D[r.family]
            outputs[i, at : at + r.n_maps] = range(r.first, r.first + r.n_maps)
            wanted[i] = max(wanted[i], needs.get(r.family, scale2d.WITHOUT_TENSOR))
    coefficients = np.array([[stencil_coefficients(s) for s in sigmas] for sigmas in in_plane])
    return ScaleTable(weights, radii, coefficients, wanted, outputs)


def _positions(start: int, stop: int, length: int, read_start: int, read_length: int) -> tuple[NDArray, NDArray]:
    """Positions start .. stop - 1 of an axis as indices into what was read, and signs; far outside, any index will do."""
    inside, signs = mirrored(np.arange(start, stop), length)
    return np.clip(inside - read_start, 0, read_length - 1), signs


class SectionDrawer:
    """Computes maps in 2D on any tile of a block's sections. Owns the mirrored pixels of the present section."""

    def __init__(
        self,
        sections: Sections,
        pixels: NDArray[np.float32],
        shape: tuple[int, ...],
        block: Block,
        margin: tuple[int, int],
        buffers: ExitStack,
    ) -> None:
        """margin : rows and columns that tiles may reach beyond the block. buffers : gives back what is borrowed."""
        self._sections, self._pixels, self._block = sections, pixels, block
        (_, y0, x0), (_, y1, x1) = block.write.start, block.write.stop
        self._rows = sections.radius + STENCIL_RADIUS
        self._columns = sections.radius + 2 * LANES  # a kernel's vectors run over by less than two
        read = block.read.start, pixels.shape[1:]
        self._ys, self._signs_y = _positions(
            y0 - self._rows, y1 + margin[0] + self._rows, shape[1], read[0][1], read[1][1]
        )
        self._xs, self._signs_x = _positions(
            x0 - self._columns, x1 + margin[1] + self._columns + 2 * LANES, shape[2], read[0][2], read[1][2]
        )
        self._padded = buffers.enter_context(borrowed(len(sections.channels), 1, len(self._ys), len(self._xs)))
        self._workspace = np.zeros(scale2d.workspace_size(TILE_WIDTH, sections.radius), np.float32)
        self._z: int | None = None

    def draw(
        self, z: int, y: int, x: int, size: tuple[int, int], out: NDArray[np.float32], first: int, map_size: int
    ) -> None:
        """Write the maps of a tile of `size` (a multiple of 16 wide) into flat `out`; see kernels.scale2d.scale_of_tile."""
        self._go_to(z)
        stride = len(self._xs)
        down = y - self._block.write.start[1] + self._rows
        right = x - self._block.write.start[2] + self._columns
        for (_, t), source in zip(self._sections.channels, self._padded):
            scale2d.scales_of_tile(
                source.reshape(-1), stride, down * stride + right, *size, t.weights, t.radii, t.coefficients,
                self._signs_y, self._signs_x, down, right, t.wanted, self._workspace, out, first, map_size, t.outputs,
            )  # fmt: skip

    def _go_to(self, z: int) -> None:
        if z != self._z:
            self._z = z
            plane = np.array([z - self._block.read.start[0]])
            for (channel, _), out in zip(self._sections.channels, self._padded):
                gather(self._pixels[channel], plane, self._ys, self._xs, out)


def _section_tiles(
    sections: Sections, n_maps: int, pixels: NDArray[np.float32], shape: tuple[int, ...], block: Block
) -> Iterator[tuple[Region, NDArray[np.float32]]]:
    (z0, y0, x0), (z1, y1, x1) = block.write.start, block.write.stop
    width = min(TILE_WIDTH, _rounded_up(x1 - x0, LANES))
    height = max(min(TILE_HEIGHT, TILE_BYTES // (4 * width * (n_maps + 1)), y1 - y0), 1)
    with ExitStack() as buffers:
        drawer = SectionDrawer(sections, pixels, shape, block, (height, width), buffers)
        buffer = buffers.enter_context(borrowed(n_maps + 1, 1, height, width))
        for z in range(z0, z1):
            for y in range(y0, y1, height):
                for x in range(x0, x1, width):
                    drawer.draw(z, y, x, (height, width), buffer.reshape(-1), 0, height * width)
                    region = Region((z, y, x), (z + 1, min(y + height, y1), min(x + width, x1)), block.write.t)
                    yield region, buffer[:n_maps]


# -- volumes: maps in 3D, kernels.scale3d; sections of the same stack are drawn into the same tiles -----------------------------


def _volume_tiles(
    requests: Sequence[Request],
    sections: Sections,
    n_maps: int,
    pixels: NDArray[np.float32],
    shape: tuple[int, ...],
    block: Block,
) -> Iterator[tuple[Region, NDArray[np.float32]]]:
    channels = list(dict.fromkeys(r.channel for r in requests))
    scales = _scales_3d(tuple(requests), tuple(channels))
    around = tuple(max(s.radii[axis] for s in scales) + STENCIL_RADIUS for axis in range(3))
    axes = [
        _positions(a - h, b + h, n, r, m)
        for a, b, h, n, r, m in zip(
            block.write.start, block.write.stop, around, shape, block.read.start, pixels.shape[1:]
        )
    ]
    in_2d = sections.positions
    origin = block.write.start
    with ExitStack() as buffers:
        padded = buffers.enter_context(borrowed(len(channels), *(len(positions) for positions, _ in axes)))
        for c, out in zip(channels, padded):
            gather(pixels[c], *(positions for positions, _ in axes), out)
        drawer = SectionDrawer(sections, pixels, shape, block, (0, LANES), buffers) if in_2d else None
        plane = buffers.enter_context(borrowed((n_maps + 1) * TILE_WIDTH * TILE_HEIGHT if in_2d else 0))
        stream = scale3d.Stream3D(scales, n_maps)
        for tile in stream.tiles(padded, (around[0], around[1], around[2]), [signs for _, signs in axes]):
            start = (tile.z0 + origin[0], tile.y0 + origin[1], tile.x0 + origin[2])
            stop = (tile.z1 + origin[0], tile.y1 + origin[1], tile.x1 + origin[2])
            if drawer is not None:
                size = tile.maps.shape[2:]
                n = size[0] * size[1]
                for z in range(start[0], stop[0]):
                    drawer.draw(z, start[1], start[2], size, plane, 0, n)
                    tile.maps[in_2d, z - start[0]] = plane[: (n_maps + 1) * n].reshape(-1, *size)[in_2d]
            yield Region(start, stop, block.write.t), tile.maps


@lru_cache(maxsize=64)
def _scales_3d(requests: Requests, channels: tuple[int, ...]) -> tuple[scale3d.Scale3D, ...]:
    """The scales of all channels; `channel` is the position in `channels`."""
    scales = []
    for (channel, sigmas, former), together in _scales(requests).items():
        outputs = np.full(N_OUTPUTS_3D, -1)
        for r in together:
            at = OUTPUTS_3D[r.family]
            outputs[at : at + r.n_maps] = range(r.first, r.first + r.n_maps)
        scales.append(
            scale3d.Scale3D(
                weights=(presmoothing(sigmas[0]), presmoothing(sigmas[1]), presmoothing(sigmas[2])),
                coefficients=np.array([stencil_coefficients(s) for s in sigmas]),
                outputs=outputs,
                channel=channels.index(channel),
                former_tensor=former,
            )
        )
    return tuple(scales)


def _rounded_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


# -- families of other packages: scalespace.py ----------------------------------------------------------------------------------


def _own_maps(
    requests: Requests, pixels: NDArray[np.float32], shape: tuple[int, ...], block: Block
) -> list[tuple[int, NDArray[np.float32]]]:
    """(position, map of the whole block) for what no kernel computes."""
    if not requests:
        return []
    around = halo(requests)
    axes = [
        _positions(a - h, b + h, n, r, m)
        for a, b, h, n, r, m in zip(
            block.write.start, block.write.stop, around, shape, block.read.start, pixels.shape[1:]
        )
    ]
    crop = tuple(slice(h, h + n) for h, n in zip(around, block.write.shape))
    spaces: dict[tuple, ScaleSpace] = {}
    maps = []
    for r in requests:
        key = (r.channel, r.sigmas, r.per_section, r.dialect)
        if key not in spaces:
            padded = np.empty([len(positions) for positions, _ in axes], np.float32)
            gather(pixels[r.channel], *(positions for positions, _ in axes), padded)
            spaces[key] = ScaleSpace(
                padded, r.sigmas, [signs for _, signs in axes], per_section=r.per_section, dialect=r.dialect
            )
        made = FAMILIES[r.family].compute(spaces[key])
        maps += [(r.first + i, m[crop]) for i, m in enumerate(made)]
    return maps
