"""PNG, JPEG and BMP through pillow. They are decoded as a whole, when they are first sliced."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from brushwork.errors import InputError, MissingPart
from brushwork.io.sources import Whole
from brushwork.io.stored import Stored, one_level
from brushwork.io.wrong import first_line, not_readable

WANTED = {".png": "a PNG image", ".bmp": "a BMP image", ".jpg": "a JPEG image", ".jpeg": "a JPEG image"}
GREY = {"1": bool, "L": np.uint8, "LA": np.uint8, "I;16": np.uint16, "I;16B": np.uint16, "I": np.int32, "F": np.float32}

_limit = threading.Lock()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The picture; pillow's limit on its size, meant for web servers, is lifted meanwhile."""
    with _limit:
        before, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            picture = Pillow.open(path)
        except (OSError, ValueError, SyntaxError) as error:
            raise not_readable(path, WANTED[path.suffix.lower()], error) from error
        finally:
            Pillow.MAX_IMAGE_PIXELS = before
    with picture:
        yield picture


def read(uri: str) -> Stored:
    """A picture: grey (y, x) or colour (y, x, c); transparency is left out, a palette is looked up."""
    path = Path(uri)
    with _opened(path) as picture:
        mode, size, bits = picture.mode, (picture.height, picture.width), _png_bits(path)
    if bits == 16 and mode not in GREY:
        return one_level(
            Whole((*size, 3), np.uint16, lambda: _deep_png(path)), "yxc", channel_names=("red", "green", "blue")
        )
    if mode in GREY:
        return one_level(Whole(size, GREY[mode], lambda: _pixels(path, "L" if mode == "LA" else mode)), "yx")
    palette = Whole(size, np.uint8, lambda: _pixels(path, "P")) if mode == "P" else None
    colour = Whole((*size, 3), np.uint8, lambda: _pixels(path, "RGB"))
    return one_level(colour, "yxc", channel_names=("red", "green", "blue"), palette=palette)


def _pixels(path: Path, mode: str) -> NDArray:
    with _opened(path) as picture:
        try:
            return np.asarray(picture if picture.mode == mode else picture.convert(mode))
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{path} is damaged or incomplete ({first_line(error)})") from error


def _png_bits(path: Path) -> int:
    """Bits per sample of a PNG, 8 for other files."""
    with path.open("rb") as file:
        head = file.read(25)
    return head[24] if head[1:4] == b"PNG" and len(head) == 25 else 8


def _deep_png(path: Path) -> NDArray:
    """Colour of 16 bits, which pillow would cut to 8."""
    try:
        from imagecodecs import png_decode
    except ImportError:
        raise MissingPart(f"{path} has 16 bits per colour; reading it", "formats") from None
    pixels = png_decode(path.read_bytes())
    return pixels[..., :3] if pixels.shape[-1] > 2 else np.repeat(pixels[..., :1], 3, -1)
