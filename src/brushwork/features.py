"""What is measured at every pixel: families of filters at scales, and how their maps are made block by block.

`FeatureSet.tiles` is the only way maps are made: training, live view, batch and `FeatureSet.at` all draw from it. What a family
computes is in scalespace.py; how blocks become tiles, in tiling.py.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork import tiling
from brushwork.blocks import Block, Region, block_around
from brushwork.errors import InputError, unknown
from brushwork.image import Image, is_anisotropic, n_channels
from brushwork.scalespace import BUILT_IN, FAMILIES, family

SIGMAS = (0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
LARGEST_SIGMA = 100.0
UNITS = ("px", "um")
DIALECTS = ("", "ilastik<1.3")


@dataclass(frozen=True)
class Feature:
    """One family at one scale.

    sigma : in `unit`, "px" (pixels, the same along each axis) or "um" (micrometres, divided by the pixel size of each axis).
    channels : indices or names of the channels it is computed on; None is all of them.
    in_2d : per section of a stack; None is settled by the image (`FeatureSet.resolved`).
    dialect : "" or "ilastik<1.3", whose structure tensor has its two scales the other way round.
    """

    family: str
    sigma: float
    unit: str = "px"
    channels: tuple[int | str, ...] | None = None
    in_2d: bool | None = None
    dialect: str = ""

    def __post_init__(self) -> None:
        smallest = family(self.family).smallest_sigma
        if self.unit not in UNITS:
            raise unknown("unit of sigma", self.unit, UNITS)
        if self.dialect not in DIALECTS:
            raise unknown("dialect", self.dialect, DIALECTS)
        if isinstance(self.channels, str):
            object.__setattr__(self, "channels", (self.channels,))
        smallest = smallest if self.unit == "px" else 0
        if not smallest <= self.sigma <= LARGEST_SIGMA or self.sigma <= 0:
            raise InputError(
                f"sigma {self.sigma:g} {self.unit} of {self.family} is out of range; it takes {smallest:g} to {LARGEST_SIGMA:g}"
            )

    def sigmas(self, spacing: tuple[float, ...] | None, ndim: int) -> tuple[float, ...]:
        """Pixels per axis; spacing is the pixel size (micrometres per axis)."""
        if self.unit == "px":
            return (self.sigma,) * ndim
        if spacing is None:
            raise InputError(f"sigma {self.sigma:g} um needs an image whose pixel size is known; give --pixel-size")
        return tuple(self.sigma / s for s in spacing)

    def label(self) -> str:
        where = "" if self.in_2d is None or not self.in_2d else " in 2D"
        return f"{self.family} {self.sigma:g} {self.unit}{where}"


@dataclass(frozen=True)
class FeatureSet:
    """The features that are computed, in order; the order of maps is feature, then channel, then eigenvalue.

    name : of the preset it came from; a preset leaves out what is too large for an image, an explicit selection refuses.
    """

    features: tuple[Feature, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if not self.features:
            raise InputError("a feature set without features was given; name at least one, e.g. 'gaussian:1'")
        if len(set(self.features)) != len(self.features):
            raise InputError("a feature is selected twice")

    @classmethod
    def preset(cls, name: str) -> "FeatureSet":
        """One of PRESETS: "all", "fast" or "ecc"."""
        if name not in PRESETS:
            raise unknown("preset", name, PRESETS)
        return replace(cls.parse(PRESETS[name]), name=name)

    @classmethod
    def parse(cls, text: str) -> "FeatureSet":
        """A preset's name, a selection (see GRAMMAR) or JSON (a list of objects with the fields of Feature)."""
        text = text.strip()
        if text in PRESETS:
            return cls.preset(text)
        if text.startswith(("[", "{")):
            try:
                return cls.from_json(json.loads(text))
            except json.JSONDecodeError as error:
                raise InputError(
                    f"the features look like JSON but are none ({error}); see: brushwork features"
                ) from None
        features = [feature for item in re.split(r"[;\s]+", text) if item for feature in _parse_item(item)]
        return cls(tuple(dict.fromkeys(features)))

    @classmethod
    def from_json(cls, data: Any) -> "FeatureSet":
        fields = data if isinstance(data, list) else data.get("features", [])
        name = "" if isinstance(data, list) else data.get("name", "")
        try:
            features = [Feature(**{**f, "channels": _channels_in_json(f.get("channels"))}) for f in fields]
        except (TypeError, AttributeError) as error:
            raise InputError(
                f"a feature in JSON has the fields family, sigma, unit, channels, in_2d, dialect: {error}"
            ) from None
        return cls(tuple(features), name)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "features": [asdict(f) for f in self.features]}

    def resolved(self, image: Image, *, channels: Sequence[int | str] | None = None) -> "FeatureSet":
        """The set with everything settled that depends on the image: channels, 2D or 3D, and sigmas that are too large.

        A stack with voxels at least three times as coarse in z, or with fewer than three sections, is filtered per section.
        """
        per_section = len(image.shape) == 2 or image.shape[0] < 3 or is_anisotropic(image.pixel_size)
        everything = tuple(range(n_channels(image))) if channels is None else _channel_indices(channels, image)
        kept = []
        for f in self.features:
            mine = everything if f.channels is None else _channel_indices(f.channels, image)
            in_2d = True if len(image.shape) == 2 else per_section if f.in_2d is None else f.in_2d
            f = replace(f, channels=mine, in_2d=in_2d)
            if fits(f, image):
                kept.append(f)
            elif not self.name:
                raise InputError(
                    f"{f.label()} is too large for {image.uri or 'an image'} of {image.shape}; take a smaller sigma, or 2D"
                )
        if not kept:
            raise InputError(
                f"no feature of preset {self.name!r} fits an image of {image.shape}; name a selection, e.g. 'gaussian:1'"
            )
        return replace(self, features=tuple(kept))

    @cached_property
    def _owners(self) -> list[tuple[int, int | str]]:
        """(feature, channel) of every map of a resolved set."""
        self._need_resolved()
        return [(i, c) for i, f in enumerate(self.features) for c in f.channels or () for _ in range(n_maps_of(f))]

    def _need_resolved(self) -> None:
        if any(f.channels is None or f.in_2d is None for f in self.features):
            raise InputError("this feature set is not tied to an image yet; call .resolved(image) first")

    @property
    def n_maps(self) -> int:
        return len(self._owners)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name for every map, e.g. "hessian 1.6 px, channel 0 [1]"."""
        return self.names_with(())

    def names_with(self, channel_names: Sequence[str]) -> tuple[str, ...]:
        """The same with the channels' names."""
        names = []
        several = len({c for _, c in self._owners}) > 1
        for f in self.features:
            for c in f.channels or ():
                channel = channel_names[int(c)] if channel_names else f"channel {c}"
                base = f.label() + (f", {channel}" if several else "")
                names += [base] if n_maps_of(f) == 1 else [f"{base} [{k}]" for k in range(n_maps_of(f))]
        return tuple(names)

    def halo(self, image: Image) -> tuple[int, ...]:
        """Pixels read around a block, per spatial axis."""
        return tiling.halo(self._requests(image))

    def tiles(self, image: Image, block: Block) -> Iterator[tuple[Region, NDArray[np.float32]]]:
        """The maps of a block, tile by tile, while they are in cache.

        Yields (region, maps): maps is (n_maps, *tile) float32 and belongs to the pixels from region.start on; where the tile is
        larger than the region, the rest is padding. The buffer is used again for the next tile.
        Raises InputError where the image holds NaN or infinite pixels.
        """
        return tiling.tiles(self._requests(image), image, block)

    def _requests(self, image: Image) -> tuple[tiling.Request, ...]:
        self._need_resolved()
        ndim = len(image.shape)
        requests, n = [], 0
        for f in self.features:
            sigmas = f.sigmas(image.pixel_size, ndim)
            for c in f.channels or ():
                requests.append(tiling.Request(f.family, int(c), sigmas, bool(f.in_2d), f.dialect, n, n_maps_of(f)))
                n += n_maps_of(f)
        if len({r[:-2] for r in requests}) < len(requests):
            raise InputError("two features of the selection measure the same thing on this image; leave one out")
        return tuple(requests)

    def at(self, image: Image, block: Block) -> NDArray[np.float32]:
        """All maps of a block's `write` region, (n_maps, *spatial) float32."""
        out = np.empty((self.n_maps, *block.write.shape), np.float32)
        for region, maps in self.tiles(image, block):
            valid = tuple(slice(0, n) for n in region.shape)
            out[(slice(None), *region.slices_in(block.write))] = maps[(slice(None), *valid)]
        return out

    def block(self, image: Image, write: Region) -> Block:
        """The block that writes `write` and reads this set's halo around it."""
        return block_around(write, self.halo(image), image.shape)


def _channels_in_json(channels: Any) -> tuple[int | str, ...] | None:
    if channels is None or isinstance(channels, str | int):
        return None if channels is None else (channels,)
    return tuple(channels)


def n_maps_of(feature: Feature, ndim: int = 3) -> int:
    """Maps of a resolved feature on one channel."""
    return FAMILIES[feature.family].maps(2 if feature.in_2d else ndim)


def fits(feature: Feature, image: Image) -> bool:
    """Whether the image is larger than half the largest filter, ilastik's rule."""
    ndim = len(image.shape)
    sigmas = feature.sigmas(image.pixel_size, ndim)
    first = 1 if feature.in_2d and ndim == 3 else 0
    return all(math.ceil(3.5 * s) + 1 <= n for s, n in zip(sigmas[first:], image.shape[first:]))


def _channel_indices(channels: Sequence[int | str], image: Image) -> tuple[int, ...]:
    """Positions of channels given by name or number, each once; a name that looks like a number goes first ("488")."""
    names = list(image.channel_names)
    indices = []
    for given in channels:
        if str(given) in names:
            index = names.index(str(given))
        elif str(given).isdigit() and int(given) < len(names):
            index = int(given)
        else:
            raise unknown("channel", given, [f"{i} ({name})" for i, name in enumerate(names)])
        indices.append(index)
    return tuple(dict.fromkeys(indices))


GRAMMAR = """\
A selection is a preset's name, or items separated by spaces or semicolons:

    FAMILY[,FAMILY...][@CHANNEL[,CHANNEL...]]:SIGMA[,SIGMA...][um][/2d|/3d]

    gaussian:0.3,0.7 hessian:1,1.6,3.5          pixels, on every channel
    hessian,structure-tensor@DAPI:1.6           two families on the channel named DAPI (a number works too)
    laplacian:2um                               micrometres: divided by the pixel size of each axis
    *:0.7,1,1.6/2d                              every family, per section of a stack

JSON is accepted as well: [{"family": "gaussian", "sigma": 1.6, "unit": "px", "channels": [0], "in_2d": true}, ...]"""
_ITEM = re.compile(
    r"(?P<families>[^@:/]+)(@(?P<channels>[^:/]+))?:(?P<sigmas>[\d.,]+)(?P<unit>um|px)?(/(?P<mode>2d|3d))?$"
)


def _parse_item(item: str) -> Iterator[Feature]:
    found = _ITEM.match(item)
    if not found:
        raise InputError(f"{item!r} is not a feature selection.\n{GRAMMAR}")
    families = [name for part in found["families"].split(",") for name in (BUILT_IN if part == "*" else (part,))]
    channels = None
    if found["channels"]:
        channels = tuple(found["channels"].split(","))
    mode = {"2d": True, "3d": False, None: None}[found["mode"]]
    try:
        sigmas = [float(s) for s in found["sigmas"].split(",")]
    except ValueError:
        raise InputError(f"{found['sigmas']!r} in {item!r} is not a list of sigmas, e.g. 0.7,1,1.6") from None
    for name in families:
        for sigma in sigmas:
            if found["families"] == "*" and sigma < family(name).smallest_sigma:
                continue
            yield Feature(name, sigma, found["unit"] or "px", channels, mode)


_EVERY = ",".join(f"{s:g}" for s in SIGMAS)
PRESETS = {
    "all": f"gaussian:0.3,{_EVERY} " + " ".join(f"{name}:{_EVERY}" for name in BUILT_IN[1:]),
    "fast": "gaussian:0.7,1.6,3.5 gradient-magnitude:1.6 laplacian:1.6,3.5 hessian:1.6,3.5",
    "ecc": "gaussian:0.3,0.7 gradient-magnitude:0.7 difference-of-gaussians:0.7,1,1.6,3.5 hessian:1,1.6,3.5",
}


def selection(features: FeatureSet, n_channels: int) -> str:
    """A selection (GRAMMAR) that names the features of a set, grouped by family; n_channels : of the image."""
    groups: dict[tuple, list[str]] = {}
    for f in features.features:
        channels = None if f.channels == tuple(range(n_channels)) else f.channels
        groups.setdefault((f.family, f.unit, channels, f.in_2d), []).append(f"{f.sigma:g}")
    items = []
    for (name, unit, channels, in_2d), sigmas in groups.items():
        where = "" if channels is None else "@" + ",".join(map(str, channels))
        mode = {True: "/2d", False: "/3d", None: ""}[in_2d]
        items.append(f"{name}{where}:{','.join(sigmas)}{'um' if unit == 'um' else ''}{mode}")
    return " ".join(items)
