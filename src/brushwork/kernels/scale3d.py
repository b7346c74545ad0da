r"""All feature families in 3D, tile by tile, for a consumer that takes each tile while it is in the cache.

Strategy: a block is cut into columns of at most 32 x 64 voxels (y, x) and all of z. A column is visited from its first plane
to its last, eight planes at a time; each visit brings every scale forward by these planes and fills the tile's maps, which
are handed out and overwritten by the next visit. Per scale, three rings of planes live from visit to visit; to finish the
planes z .. z + 3 they are brought to

    padded block
      |                       y and x passes of the large Gaussian (scale3d_blur)
    blurred ring              2 R + 4 planes, to z + 6 + R
      |                       z pass, four planes at once
    presmoothed ring          10 planes, to z + 6
      |            \          stencils (scale3d_stencils)
      |             Gaussian, Laplacian, gradient magnitude, difference of Gaussians, Hessian eigenvalues of z .. z + 3
      |                       gradient products, smoothed in y and x
    products ring             8 planes, to z + 5
      |                       z pass, four planes at once
    structure tensor eigenvalues of z .. z + 3

Around a narrow tile the rows and columns that a large Gaussian needs would be most of the work. From a radius of
`STRIP_RADIUS` on, its y and x passes therefore run over a strip of tiles (all of z and x) before the columns of the strip are
visited, and the strip takes the blurred ring's place. Same filters in the same order: same bits.

Memory of one `Stream3D`: rings, about 1 MB per scale; the tile, 64 kB per map; and for each scale in strips 4 bytes x 38 x
(D + 2 R + 6) x (W + 32), which is 15 MB for a block of 256^3 at sigma 10.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brushwork.kernels.compile import kernel
from brushwork.kernels.filters import STENCIL_RADIUS
from brushwork.kernels.scale3d_blur import GROUP, blur_across_planes, blur_plane, rows_scratch
from brushwork.kernels.scale3d_former import former_products_plane, former_tensor_planes
from brushwork.kernels.scale3d_stencils import (
    DIFFERENCE,
    GAUSSIAN,
    HESSIAN,
    LAPLACIAN,
    MAGNITUDE,
    PLANE,
    PRODUCT_PLANE,
    ROW,
    SCRATCH,
    TENSOR,
    TILE_HEIGHT,
    TILE_WIDTH,
    gaussian_plane,
    plain_plane,
    products_plane,
    tensor_planes,
)
from brushwork.kernels.simd import LANES

VISIT = 2 * GROUP  # planes per visit
# Of the presmoothing along y or x. Measured at radius 12: no difference; at 17, strips are 15 % faster; at 35, 25 %.
STRIP_RADIUS = 14
PRESMOOTHED = GROUP + 2 * STENCIL_RADIUS  # planes of that ring
PRODUCTS = GROUP + 4
# Rings are a little longer than their planes: a vector may run over, and planes a power of two apart compete for cache lines.
PLANE_PITCH, PRODUCT_PITCH = PLANE + 5 * LANES, PRODUCT_PLANE + 5 * LANES
CACHE_LINE = 64  # bytes

# What of a scale is wanted, in columns of `wants`.
GAUSSIAN_ALONE, PLAIN, HESSIAN_VALUES, TENSOR_VALUES, FORMER_TENSOR_VALUES = range(5)
# Where a scale's state lies in the workspace, in columns of `places`; and the distances inside its strip, 0 without one.
BLURRED_RING, PRESMOOTHED_RING, PRODUCTS_RING, STRIP_ROW, STRIP_PLANE = range(5)


@dataclass(frozen=True)
class Scale3D:
    """One scale of one channel.

    weights : presmoothing half kernels along z, y, x (float32).
    coefficients : (3, 13) float32, stencils along z, y, x (`filters.stencil_coefficients`).
    outputs : (10,) index of the map that receives the Gaussian, Laplacian, gradient magnitude, difference of Gaussians,
        three structure tensor eigenvalues, three Hessian eigenvalues; -1 for what nobody wants. Eigenvalues descend, and the
        three of one tensor are wanted together, in consecutive maps.
    channel : of the block. former_tensor : the structure tensor is that of ilastik before 1.3.
    """

    weights: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    coefficients: NDArray[np.float32]
    outputs: NDArray[np.int64]
    channel: int = 0
    former_tensor: bool = False

    @property
    def radii(self) -> tuple[int, int, int]:
        """Of the presmoothing, in voxels along z, y, x."""
        z, y, x = (len(w) - 1 for w in self.weights)
        return z, y, x

    @property
    def in_strips(self) -> bool:
        return max(self.radii[1:]) >= STRIP_RADIUS

    @property
    def wants(self) -> tuple[bool, bool, bool, bool, bool]:
        """The Gaussian alone; any of the plain stencils; eigenvalues of Hessian, structure tensor and former structure tensor."""
        wanted = np.asarray(self.outputs) >= 0
        plain = bool(wanted[[LAPLACIAN, MAGNITUDE, DIFFERENCE, HESSIAN]].any())
        tensor = bool(wanted[TENSOR])
        alone, former = bool(wanted[GAUSSIAN]) and not plain, tensor and self.former_tensor
        return alone, plain, bool(wanted[HESSIAN]), tensor and not former, former


@kernel
def blur_plane_of_block(
    block, halo, channel, z, y0, x0, height, width, weights, radii, starts, ends, scratch, out, to, stride
):
    """Plane z of the block, smoothed in y and x, from STENCIL_RADIUS rows and columns before y0, x0 on."""
    _, planes, rows, columns = block.shape
    y, x = y0 + halo[1] - STENCIL_RADIUS - radii[1], x0 + halo[2] - STENCIL_RADIUS - radii[2]
    at = ((channel * planes + z + halo[0]) * rows + y) * columns + x
    blur_plane(
        block.reshape(-1), at, columns, columns - x, height, width,
        weights[1], radii[1], weights[2], radii[2], starts, ends, scratch, out, to, stride,
    )  # fmt: skip


@kernel
def blur_strip(block, halo, channel, y0, height, width, weights, radii, starts, ends, scratch, strip, at, row, plane):
    """Every plane a scale needs of the block, rows from y0 - STENCIL_RADIUS on, smoothed in y and x, into strip[at:]."""
    reach = radii[0] + STENCIL_RADIUS
    depth = block.shape[1] - 2 * halo[0]
    for j in range(depth + 2 * reach):
        blur_plane_of_block(
            block, halo, channel, j - reach, y0, 0, height + 2 * STENCIL_RADIUS, width,
            weights, radii, starts, ends, scratch, strip, at + j * plane, row,
        )  # fmt: skip


@kernel
def presmooth(
    block, halo, channel, z0, z1, y0, x0, height, width, weights, radii, place, starts, ends, scratch, workspace, strips
):
    """Bring the ring of presmoothed planes from plane z0 + 2 (nothing, if z0 is 0) to plane z1 + 2."""
    radius = radii[0]
    window = 2 * radius + GROUP
    in_strips = place[STRIP_ROW] > 0
    rows, columns = height + 2 * STENCIL_RADIUS, width + LANES
    begin, stop = z0 + STENCIL_RADIUS, z1 + STENCIL_RADIUS
    next_blurred = begin + radius
    if z0 == 0:
        begin = -STENCIL_RADIUS
        next_blurred = begin - radius
    for group in range(begin, stop, GROUP):
        p = min(group, stop - GROUP)  # the last group may do planes again
        if in_strips:
            source, row = strips, place[STRIP_ROW]
            for j in range(window):
                z = p + j + STENCIL_RADIUS  # the strip begins at plane -radius - STENCIL_RADIUS
                starts[j] = place[BLURRED_RING] + z * place[STRIP_PLANE] + x0
        else:
            for z in range(next_blurred, p + GROUP + radius):
                to = place[BLURRED_RING] + z % window * PLANE_PITCH
                blur_plane_of_block(
                    block,
                    halo,
                    channel,
                    z,
                    y0,
                    x0,
                    rows,
                    columns,
                    weights,
                    radii,
                    starts,
                    ends,
                    scratch,
                    workspace,
                    to,
                    ROW,
                )
            next_blurred = p + GROUP + radius
            source, row = workspace, ROW
            for j in range(window):
                starts[j] = place[BLURRED_RING] + (p - radius + j) % window * PLANE_PITCH
        for j in range(GROUP):
            ends[j] = place[PRESMOOTHED_RING] + (p + j) % PRESMOOTHED * PLANE_PITCH
        blur_across_planes(source, starts, row, rows, columns, weights[0], radius, workspace, ends, ROW)


@kernel
def plane_at(place, z):
    return place[PRESMOOTHED_RING] + z % PRESMOOTHED * PLANE_PITCH


@kernel
def stencils(
    halo, signs_z, signs_y, signs_x, z0, z1, y0, x0, height, width,
    k, output, wants, place, starts, scratch, workspace, maps, to, map_size,
):  # fmt: skip
    """Maps of planes z0 .. z1 - 1, at most GROUP, from the ring of presmoothed planes; `to` is plane z0's place in a map."""
    area = height * width
    for z in range(z0, z1):
        at = to + (z - z0) * area
        p0, p1, p2 = plane_at(place, z - 2), plane_at(place, z - 1), plane_at(place, z)
        p3, p4 = plane_at(place, z + 1), plane_at(place, z + 2)
        if wants[PLAIN]:
            plain_plane(
                workspace,
                p0,
                p1,
                p2,
                p3,
                p4,
                height,
                width,
                k,
                wants[HESSIAN_VALUES],
                scratch,
                maps,
                at,
                map_size,
                output,
            )
        elif wants[GAUSSIAN_ALONE]:
            at += output[GAUSSIAN] * map_size
            gaussian_plane(workspace, p0, p1, p2, p3, p4, height, width, k, scratch, maps, at)
    if wants[TENSOR_VALUES]:
        for z in range(-2 if z0 == 0 else z0 + 2, z1 + 2):
            products_plane(
                workspace, plane_at(place, z - 1), plane_at(place, z), plane_at(place, z + 1), height, width, k,
                signs_z[z + halo[0]], signs_y, y0 + halo[1], signs_x, x0 + halo[2],
                scratch, workspace, place[PRODUCTS_RING] + z % PRODUCTS * PRODUCT_PITCH,
            )  # fmt: skip
        for j in range(PRODUCTS):
            starts[j] = place[PRODUCTS_RING] + (z0 - 2 + j) % PRODUCTS * PRODUCT_PITCH
        at = to + output[TENSOR] * map_size
        tensor_planes(workspace, starts, z1 - z0, height, width, k[0], scratch, maps, at, map_size)
    if wants[FORMER_TENSOR_VALUES]:
        for z in range(-1 if z0 == 0 else z0 + 1, z1 + 1):
            former_products_plane(
                workspace, plane_at(place, z - 2), plane_at(place, z - 1), plane_at(place, z), plane_at(place, z + 1),
                plane_at(place, z + 2), height, width, k, signs_z[z + halo[0]], signs_y, y0 + halo[1], signs_x,
                x0 + halo[2], scratch, workspace, place[PRODUCTS_RING] + z % PRODUCTS * PRODUCT_PITCH,
            )  # fmt: skip
        for j in range(PRODUCTS):
            starts[j] = place[PRODUCTS_RING] + (z0 - 2 + j) % PRODUCTS * PRODUCT_PITCH
        at = to + output[TENSOR] * map_size
        former_tensor_planes(workspace, starts, z1 - z0, height, width, k[0], scratch, maps, at, map_size)


@kernel
def visit(
    block, halo, signs_z, signs_y, signs_x, z0, z1, y0, x0, height, width,
    weights, radii, coefficients, outputs, wants, channels, places, starts, ends, scratch, workspace, strips, maps,
):  # fmt: skip
    """All maps of planes z0 .. z1 - 1 of one tile, in the layout (n_maps, z1 - z0, height, width) of flat `maps`.

    block : (c, z, y, x) float32 with a halo; halo : its voxels along z, y, x; the tile's first voxel is y0, x0 without it.
    signs_z, signs_y, signs_x : -1 where an odd number of reflections leads into the image, else 1; signs_x is longer than
        the block by what a vector may run over.
    weights : (n_scales, 3, longest). radii : (n_scales, 3). coefficients : (n_scales, 3, 13). outputs : (n_scales, 10).
    wants : (n_scales, 5) bool. channels : (n_scales,). places : (n_scales, 5).
    Visits of a column come in the order of z0, from 0, VISIT planes each but the last.
    """
    area = height * width
    map_size = (z1 - z0) * area
    for s in range(len(radii)):
        for first in range(z0, z1, GROUP):
            last = min(first + GROUP, z1)
            presmooth(
                block, halo, channels[s], first, last, y0, x0, height, width,
                weights[s], radii[s], places[s], starts, ends, scratch, workspace, strips,
            )  # fmt: skip
            stencils(
                halo, signs_z, signs_y, signs_x, first, last, y0, x0, height, width,
                coefficients[s], outputs[s], wants[s], places[s], starts, scratch, workspace,
                maps, (first - z0) * area, map_size,
            )  # fmt: skip


@dataclass(frozen=True)
class Tile3D:
    """Maps of a part of the block.

    maps : (n_maps, z, y, x) float32, C-contiguous; x is rounded up to whole vectors of 16, and what lies beyond x1 - x0 is
        undefined (finite where the block is). Overwritten by the next tile.
    z0 ... x1 : where in the block without its halo.
    """

    z0: int
    z1: int
    y0: int
    y1: int
    x0: int
    x1: int
    maps: NDArray[np.float32]


class Stream3D:
    """Makes the maps of blocks in 3D, tile by tile. Owns the workspace of one thread, hence a class."""

    def __init__(self, scales: Sequence[Scale3D], n_maps: int) -> None:
        """n_maps : of a tile; maps that no scale writes are left alone, for others to fill."""
        self.scales, self.n_maps = tuple(scales), n_maps
        n = len(self.scales)
        self._radii = np.array([scale.radii for scale in self.scales], np.int64).reshape(n, 3)
        longest = int(self._radii.max(initial=0))
        self._weights = np.zeros((n, 3, longest + 1), np.float32)
        for s, scale in enumerate(self.scales):
            for axis, weights in enumerate(scale.weights):
                self._weights[s, axis, : len(weights)] = weights
        self._coefficients = np.array([scale.coefficients for scale in self.scales], np.float32).reshape(n, 3, -1)
        outputs = np.array([scale.outputs for scale in self.scales], np.int64).reshape(n, -1)
        self._outputs = np.where(outputs < 0, n_maps, outputs)  # a map behind the last takes what nobody wants
        self._wants = np.array([scale.wants for scale in self.scales], np.bool_).reshape(n, 5)
        self._channels = np.array([scale.channel for scale in self.scales], np.int64)
        self._starts, self._ends = np.zeros(2 * longest + 2 * GROUP, np.int64), np.zeros(GROUP, np.int64)
        self._places = np.zeros((n, 5), np.int64)
        size = 0
        for place, scale in zip(self._places, self.scales):
            lengths = [
                0 if scale.in_strips else (2 * scale.radii[0] + GROUP) * PLANE_PITCH,
                PRESMOOTHED * PLANE_PITCH,
                PRODUCTS * PRODUCT_PITCH if any(scale.wants[TENSOR_VALUES:]) else 0,
            ]
            place[:3] = size + np.cumsum([0, *lengths[:2]])
            size += sum(lengths)
        self._workspace = aligned_zeros(size)
        self._maps = aligned_zeros((n_maps + 1) * VISIT * TILE_HEIGHT * TILE_WIDTH)
        self._strips = self._scratch = aligned_zeros(0)

    def tiles(
        self, block: NDArray[np.float32], halo: tuple[int, int, int], signs: Sequence[NDArray[np.float32]]
    ) -> Iterator[Tile3D]:
        """Tiles that cover the block without its halo.

        block : (c, z, y, x) float32, C-contiguous, mirrored where it leaves the image.
        halo : voxels along z, y, x on both sides; at least every scale's radius + 3.
        signs : per axis, as long as the block: -1 where an odd number of reflections leads into the image, else 1.
        """
        halos = np.array(halo, np.int64)
        needed = self._radii.max(0, initial=0) + STENCIL_RADIUS
        if (halos < needed).any():
            raise ValueError(f"the block's halo is {tuple(halo)} voxels; its scales need {tuple(needed.tolist())}")
        _, depth, height, width = (np.array(block.shape) - [0, *(2 * halos)]).tolist()
        if block.shape[-1] < LANES:  # a row shorter than a vector
            block = np.pad(block, [(0, 0)] * 3 + [(0, LANES - block.shape[-1])])
        signs_z, signs_y, signs_x = (np.ascontiguousarray(s, np.float32) for s in signs)
        signs_x = np.concatenate([signs_x, np.ones(TILE_WIDTH + 2 * LANES, np.float32)])
        self._make_room(depth, width)
        for y0, y1 in parts(height, TILE_HEIGHT, 1):
            self._blur_strips(block, halos, y0, y1 - y0, width)
            for x0, x1 in parts(width, TILE_WIDTH, LANES):
                columns = whole_vectors(x1 - x0)
                for z0 in range(0, depth, VISIT):
                    z1 = min(z0 + VISIT, depth)
                    visit(
                        block, halos, signs_z, signs_y, signs_x, z0, z1, y0, x0, y1 - y0, columns,
                        self._weights, self._radii, self._coefficients, self._outputs, self._wants, self._channels,
                        self._places, self._starts, self._ends, self._scratch, self._workspace, self._strips, self._maps,
                    )  # fmt: skip
                    shape = self.n_maps, z1 - z0, y1 - y0, columns
                    yield Tile3D(z0, z1, y0, y1, x0, x1, self._maps[: math.prod(shape)].reshape(shape))

    def _make_room(self, depth: int, width: int) -> None:
        """Strips and scratch for a block of this size; kept for the next."""
        row = whole_vectors(width) + LANES
        strips, scratch = 0, SCRATCH
        for place, scale in zip(self._places, self.scales):
            widest = ROW
            if scale.in_strips:
                plane = (TILE_HEIGHT + 2 * STENCIL_RADIUS) * row + 5 * LANES
                place[[BLURRED_RING, STRIP_ROW, STRIP_PLANE]] = strips, row, plane
                strips += (depth + 2 * (scale.radii[0] + STENCIL_RADIUS)) * plane
                widest = row
            scratch = max(scratch, rows_scratch(widest, scale.radii[2]))
        if len(self._strips) < strips:
            self._strips = aligned_zeros(strips)
        if len(self._scratch) < scratch:
            self._scratch = aligned_zeros(scratch)

    def _blur_strips(
        self, block: NDArray[np.float32], halo: NDArray[np.int64], y0: int, height: int, width: int
    ) -> None:
        """The y and x passes of the large scales, for all tiles of these rows."""
        for s, (place, scale) in enumerate(zip(self._places, self.scales)):
            if scale.in_strips:
                row, plane = place[STRIP_ROW], place[STRIP_PLANE]
                blur_strip(
                    block, halo, scale.channel, y0, height, row, self._weights[s], self._radii[s],
                    self._starts, self._ends, self._scratch, self._strips, place[BLURRED_RING], row, plane,
                )  # fmt: skip


def whole_vectors(n: int) -> int:
    return -(-n // LANES) * LANES


def parts(length: int, longest: int, unit: int) -> list[tuple[int, int]]:
    """0 .. length cut into as few parts of at most `longest` as possible, about equally long, in multiples of `unit`."""
    n = -(-length // longest)
    each = -(-length // (n * unit)) * unit
    return [(start, min(start + each, length)) for start in range(0, length, each)]


def aligned_zeros(n: int) -> NDArray[np.float32]:
    """(n,) float32 zeros that begin a cache line, so that no aligned vector crosses one."""
    spare = CACHE_LINE // 4
    array = np.zeros(n + 2 * spare, np.float32)
    first = -array.ctypes.data % CACHE_LINE // 4
    return array[first : first + n + spare]
