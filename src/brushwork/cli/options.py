"""Options that several commands share, and how their values are read."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brushwork.errors import InputError, closest

if TYPE_CHECKING:
    from brushwork.blocks import Region
    from brushwork.features import FeatureSet

Axes = Annotated[str | None, typer.Option("--axes", help="What the axes of the images are, e.g. zyx, yxc, tcyx.")]
Level = Annotated[str | None, typer.Option("--level", help="Level of a pyramid: its number (0 is the finest) or name.")]
PixelSize = Annotated[
    str | None, typer.Option("--pixel-size", help="Micrometres per pixel, z,y,x; instead of what the file says.")
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads; all processors by default.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Features = Annotated[
    str, typer.Option("--features", help="A preset (all, fast, ecc), a selection or JSON; see: brushwork features.")
]
Channels = Annotated[
    str | None, typer.Option("--channels", help="Channels to look at, numbers or names; all by default.")
]
EstimatorName = Annotated[str, typer.Option("--estimator", help="symmetric-forest, or sklearn:CLASS.")]
Seed = Annotated[int, typer.Option("--seed", help="The same strokes and seed give the same model.")]
Classes = Annotated[
    str, typer.Option("--classes", help="Names of the classes in the order of the labels' values from 1.")
]


def comma_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def channel_list(text: str | None) -> list[str] | None:
    return None if text is None else comma_list(text)


def pixel_size_of(text: str | None) -> tuple[float, ...] | None:
    from brushwork.image import parse_pixel_size

    return None if text is None else parse_pixel_size(text)


def feature_set(text: str) -> "FeatureSet":
    """The features a selection names; words that are nearly a preset or a family are told before the whole grammar is."""
    from brushwork.features import FAMILIES, PRESETS, FeatureSet

    text = text.strip()
    words = [] if text in PRESETS or text.startswith(("[", "{")) else re.split(r"[;\s]+", text)
    for word in words:
        near = closest(word, [*PRESETS, *FAMILIES]) if ":" not in word else None
        if near in PRESETS:
            hint = "a preset stands alone" if word == near else f"did you mean the preset {near!r}?"
            raise InputError(f"{word!r} is not a feature selection: {hint} (brushwork features explains)")
        if near is not None:
            hint = f"a family needs its sigmas, e.g. {near}:1,1.6"
            raise InputError(f"{word!r} is not a feature selection: {hint} (brushwork features explains)")
    return FeatureSet.parse(text)


def expanded(paths: list[str]) -> list[str]:
    """What patterns name (where the shell did not expand them), also inside files; other paths are kept as they are."""
    found = []
    for path in paths:
        if any(c in path for c in "*?[") and not Path(path).exists() and "://" not in path:
            from brushwork.io.planes import matching

            found += matching(path)
        else:
            found.append(path)
    return found


def region_of(text: str, shape: tuple[int, ...]) -> "Region":
    """ "0:40,100:600,:" -> the box of an image of `shape`; one START:STOP per spatial axis, either may be left out."""
    from brushwork.blocks import Region

    spans = [re.fullmatch(r"\s*(\d*)\s*:\s*(\d*)\s*", part) for part in text.split(",")]
    axes = "zyx"[-len(shape) :]
    if not all(spans) or len(spans) != len(shape):
        example = ",".join(f"0:{min(n, 100)}" for n in shape)
        raise InputError(f"region {text!r} is not one START:STOP for each of {','.join(axes)}; give e.g. {example}")
    starts = tuple(int(span[1] or 0) for span in spans if span)
    stops = tuple(int(span[2] or n) for span, n in zip(spans, shape) if span)
    if any(not 0 <= a < b <= n for a, b, n in zip(starts, stops, shape)):
        raise InputError(f"region {text!r} is empty or leaves the image of {shape} ({','.join(axes)}); correct it")
    return Region(starts, stops)


def level_of(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text


def size_of(text: str, pixel_size: tuple[float, ...] | None, ndim: int) -> int:
    """The pixels of a size: "20" as it is; "20um2" (of a volume "20um3") the fewest that make it up."""
    from math import ceil, prod

    unit = f"um{ndim}"
    told = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(um\d|px)?\s*", text.replace("µ", "u"))
    if not told or told[2] not in (None, "px", unit) or (told[2] != unit and not float(told[1]).is_integer()):
        raise InputError(
            f"size {text!r} is neither a number of pixels nor one with the unit {unit}; give e.g. 20 or 20{unit}"
        )
    if told[2] != unit:
        return int(float(told[1]))
    if pixel_size is None:
        raise InputError(f"a size of {text} was given, but the pixel size is unknown; give it with --pixel-size")
    # 2 um2 are 8 pixels of 0.5 um, whatever binary fractions say.
    return ceil(float(told[1]) / prod(pixel_size) * (1 - 1e-9))


def numbers(text: str, option: str) -> float | tuple[float, ...]:
    """ "1" -> 1.0, "0.5,1,1" -> one number per axis."""
    try:
        found = tuple(float(part) for part in comma_list(text))
    except ValueError:
        raise InputError(
            f"{option} {text!r} is not a number, or one per axis (z,y,x); give e.g. 1 or 0.5,1,1"
        ) from None
    return found[0] if len(found) == 1 else found


def length_of(text: str, pixel_size: tuple[float, ...] | None) -> tuple[float, tuple[float, ...] | None]:
    """(how long, how far pixels are apart): "3" is in pixels, of which none is longer; "3um" in micrometres."""
    told = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(um|px)?\s*", text.replace("µ", "u"))
    if not told:
        raise InputError(f"length {text!r} is neither a number of pixels nor one of micrometres; give e.g. 3 or 1.5um")
    if told[2] != "um":
        return float(told[1]), None
    if pixel_size is None:
        raise InputError(f"a length of {text} was given, but the pixel size is unknown; give it with --pixel-size")
    return float(told[1]), pixel_size
