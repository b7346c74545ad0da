"""What an output volume is: its shape, channels and kind, and how it is cut into chunks and shards."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from brushwork.errors import InputError, unknown
from brushwork.image import SPATIAL, Image, n_channels

KINDS = ("probabilities", "segmentation", "objects", "uncertainty", "features", "image")
CHUNK_EDGE = {2: 512, 3: 64}
SHARD_EDGE = {2: 4096, 3: 256}
SHARD_BYTES = 128 << 20
PALETTE = ("E6C229", "1A8FE3", "D11149", "6610F2", "F17105", "3DA35D", "A05195", "00B4D8", "9C6644", "8D99AE")


@dataclass(frozen=True)
class Layout:
    """An output volume. Segmentations and objects have no channel axis; everything else has one.

    shape : pixels along the spatial axes. dtype : of the stored numbers.
    channel_names : one per channel; of a segmentation, one per class (values 1, 2, ...).
    colors : "RRGGBB", as many as channel_names; a palette fills in.
    pixel_size : micrometres per spatial axis, None where unknown.
    kind : one of KINDS; "objects" holds the number of an object per pixel, 0 between them.
    name : what viewers call the image.
    """

    shape: tuple[int, ...]
    n_channels: int = 1
    n_frames: int = 1
    has_time: bool = False
    dtype: DTypeLike = np.uint8
    channel_names: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    pixel_size: tuple[float, ...] | None = None
    kind: str = "image"
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of output", self.kind, KINDS)
        if not self.has_channels and self.n_channels != 1:
            raise InputError(f"an output of kind {self.kind!r} has one channel, not {self.n_channels}")
        names = tuple(self.channel_names) or tuple(f"channel {i}" for i in range(self.n_channels))
        if self.kind != "segmentation" and len(names) != self.n_channels:
            raise InputError(f"{self.n_channels} channels but {len(names)} channel names: {', '.join(names)}")
        colors = tuple(c.lstrip("#").upper() for c in self.colors) or tuple(
            PALETTE[i % len(PALETTE)] for i in range(len(names))
        )
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "channel_names", names)
        object.__setattr__(self, "colors", colors)

    @property
    def has_channels(self) -> bool:
        return self.kind not in ("segmentation", "objects")

    @property
    def spatial_axes(self) -> str:
        return SPATIAL[-len(self.shape) :]

    @property
    def axes(self) -> str:
        """The axes as stored: t and c only where there are any."""
        return "t" * self.has_time + "c" * self.has_channels + self.spatial_axes

    @property
    def array_shape(self) -> tuple[int, ...]:
        """The lengths of `axes`."""
        return (self.n_frames,) * self.has_time + (self.n_channels,) * self.has_channels + self.shape

    @property
    def nbytes(self) -> int:
        return math.prod(self.array_shape) * np.dtype(self.dtype).itemsize

    @property
    def chunk(self) -> tuple[int, ...]:
        """Pixels of a chunk along the spatial axes; smaller where all channels of one would not fit into a shard."""
        edge = CHUNK_EDGE[len(self.shape)]
        while edge > 1 and self._bytes_of((edge,) * len(self.shape)) > SHARD_BYTES:
            edge //= 2
        return tuple(min(edge, n) for n in self.shape)

    @property
    def shard(self) -> tuple[int, ...]:
        """Pixels of a shard along the spatial axes: whole chunks, all channels, at most SHARD_BYTES."""
        ndim, chunk = len(self.shape), self.chunk
        times = max(1, SHARD_EDGE[ndim] // CHUNK_EDGE[ndim])
        while times > 1 and self._bytes_of(self._shard_of(chunk, times)) > SHARD_BYTES:
            times -= 1
        return self._shard_of(chunk, times)

    def _shard_of(self, chunk: tuple[int, ...], times: int) -> tuple[int, ...]:
        return tuple(e * min(times, -(-n // e)) for e, n in zip(chunk, self.shape))

    def _bytes_of(self, box: tuple[int, ...]) -> int:
        return math.prod(box) * self.n_channels * np.dtype(self.dtype).itemsize


def layout_of(image: Image, kind: str = "image") -> Layout:
    """The layout that keeps an image as it is."""
    return Layout(
        image.shape,
        n_channels(image),
        image.n_frames,
        "t" in image.axes,
        image.dtype,
        image.channel_names,
        pixel_size=image.pixel_size,
        kind=kind,
    )
