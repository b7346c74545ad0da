"""The images of a project: opened when they are asked for, known by their content, found again where they were moved."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from brushwork.classifier import same_pixel_size
from brushwork.document import Document, ImageEntry
from brushwork.errors import InputError
from brushwork.image import ArrayImage, Image, n_channels
from brushwork.io import open_image
from brushwork.io.fingerprints import fingerprint, same_pixels
from brushwork.io.places import copied, file_of, is_there, noted, opened_at
from brushwork.io.wrong import missing
from brushwork.project_folder import IMAGES

UNSEEN = "unseen"  # begins the ids of images that another program told of, and that nobody has opened here yet
MASK = "mask"  # begins the ids of masks


class ImageMissing(InputError):
    """An image is not where the project last saw it. id : of its entry. path : where it was."""

    def __init__(self, entry_id: str, path: str) -> None:
        held = file_of(path)
        super().__init__(f"{held.name} is not in {held.parent} any more; put it back, or say where it is now (relink)")
        self.id, self.path = entry_id, path


class ImageReplaced(InputError):
    """Another image lies where one of the project was. id : of its entry. path : where."""

    def __init__(self, entry_id: str, path: str) -> None:
        super().__init__(
            f"{path} is not the mask that was given: its size differs. Put the right one there, or say where it is now (relink)"
            if entry_id.startswith(MASK)
            else f"{path} is not the image that was painted on: its size, type or pixels differ. Put the right one there, say "
            "where it is now (relink), or add this one as a further image"
        )
        self.id, self.path = entry_id, path


class Shelf:
    """The open images of a project; owns them so that each is opened and recognised once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[tuple[str, str], ArrayImage] = {}

    def place(self, entry: ImageEntry) -> str:
        """The path or address of an image, to be opened from anywhere."""
        return opened_at(entry.path, self.folder)

    def image(self, entry: ImageEntry) -> ArrayImage:
        """The image, or mask, of an entry. Raises ImageMissing or ImageReplaced, InputError where a file cannot be read."""
        key = (entry.id, entry.path)
        if key not in self._open:
            self._open[key] = self._opened(entry, self.place(entry))
        return self._open[key]

    def _opened(self, entry: ImageEntry, place: str) -> ArrayImage:
        if not is_there(place):
            raise ImageMissing(entry.id, place)
        try:
            image = open_image(place, **entry.options)
            is_same = _is_of(entry, image)
        except InputError:
            if not is_there(place):  # it went away meanwhile
                raise ImageMissing(entry.id, place) from None
            raise
        if not is_same:
            raise ImageReplaced(entry.id, place)
        return image

    def entry_for(
        self, document: Document, uri: str, options: Mapping[str, Any], *, copy: bool, absolute: bool
    ) -> tuple[ImageEntry, bool]:
        """(the entry for an image that is added, whether the document has it already, perhaps at another path)."""
        image = open_image(uri, **options)
        _check_goes_with(document, image)
        name = fingerprint(image)
        uri = os.path.expanduser(uri.removeprefix("file://"))
        alike = [e for e in document.images if e.id.partition("-")[0] == name]
        for entry in alike:
            if self.place(entry) == opened_at(noted(uri, self.folder), self.folder):
                return entry, True
            try:
                if same_pixels(self.image(entry), image):
                    return entry, True
            except (ImageMissing, ImageReplaced):
                return replace(entry, path=noted(uri, self.folder, absolute=absolute)), True
        if copy:
            uri = copied(uri, self.folder / IMAGES)
        entry = entry_of(image, noted(uri, self.folder, absolute=absolute), options)
        return replace(entry, id=name if not alike else f"{name}-{len(alike) + 1}"), False

    def mask_for(self, entry: ImageEntry, uri: str, options: Mapping[str, Any]) -> ImageEntry:
        """The entry of a mask that an image is given. Raises InputError where it is of another size."""
        mask = open_image(uri, **options)
        if (tuple(mask.shape), mask.n_frames) != (entry.shape, entry.n_frames):
            raise InputError(
                f"the mask {uri} is {mask.shape} with {mask.n_frames} frame(s), {entry.title} is {entry.shape} with "
                f"{entry.n_frames}; they have to be of one size"
            )
        place = noted(os.path.expanduser(uri.removeprefix("file://")), self.folder)
        return replace(entry_of(mask, place, options), id=mask_id(entry))

    def relinked(self, document: Document, entry: ImageEntry, path: str) -> list[ImageEntry]:
        """The entry at its new place, and the missing ones that lie to it as they did before."""
        path = os.path.expanduser(path)
        if not is_there(path):
            raise missing(Path(path))
        self._opened(entry, path)
        is_absolute = Path(entry.path).is_absolute()
        found = [replace(entry, path=noted(path, self.folder, absolute=is_absolute))]
        before, after = os.path.dirname(self.place(entry)), os.path.dirname(os.path.abspath(path))
        for other in document.entries:
            if other.id != entry.id and not is_there(self.place(other)):
                beside = [os.path.join(after, _relation(self.place(other), before))]
                if not other.id.startswith(MASK):  # which may be called as its image is, and is known by its size alone
                    beside.append(os.path.join(after, Path(other.path).name))
                there = next((p for p in beside if self._is(other, p)), None)
                if there is not None:
                    found.append(
                        replace(other, path=noted(there, self.folder, absolute=Path(other.path).is_absolute()))
                    )
        return found

    def _is(self, entry: ImageEntry, path: str) -> bool:
        try:
            self._opened(entry, os.path.normpath(path))
        except InputError:
            return False
        return True


def _relation(path: str, folder: str) -> str:
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # another drive
        return os.path.basename(path)


def _is_of(entry: ImageEntry, image: Image) -> bool:
    """Whether an image is the one of an entry, by its content; by its size alone where that was never seen, or is a mask."""
    if entry.id.startswith((UNSEEN, MASK)):
        size = tuple(image.shape), image.n_frames, n_channels(image)
        return size == (entry.shape, entry.n_frames, len(entry.channel_names))
    return fingerprint(image) == entry.id.partition("-")[0]


def mask_id(entry: ImageEntry) -> str:
    """Masks may be drawn on, and images may share one: they are known by the image that they are of."""
    return f"{MASK}-{entry.id}"


def entry_of(image: Image, path: str, options: Mapping[str, Any]) -> ImageEntry:
    """What a document notes about an image."""
    return ImageEntry(
        id=fingerprint(image),
        path=path,
        shape=tuple(image.shape),
        axes=image.axes,
        dtype=str(image.dtype),
        channel_names=tuple(image.channel_names),
        pixel_size=image.pixel_size,
        options={key: value for key, value in options.items() if value is not None},
        n_frames=image.n_frames,
    )


def _check_goes_with(document: Document, image: Image) -> None:
    """Raise InputError where an image cannot be trained on together with those that there are."""
    if not document.images:
        return
    first = document.images[0]
    what, there = f"{image.uri} cannot join the project:", Path(first.path).name
    if n_channels(image) != len(first.channel_names):
        raise InputError(
            f"{what} it has {n_channels(image)} channels ({', '.join(image.channel_names)}), {there} has "
            f"{len(first.channel_names)} ({', '.join(first.channel_names)}); all images of a project need the same channels"
        )
    if image.channel_names != first.channel_names and sorted(image.channel_names) == sorted(first.channel_names):
        raise InputError(
            f"{what} its channels are in another order, {', '.join(image.channel_names)} instead of "
            f"{', '.join(first.channel_names)}; write them in that order"
        )
    if len(image.shape) != len(first.shape):
        raise InputError(
            f"{what} it is {len(image.shape)}D and {there} is {len(first.shape)}D; say what its axes are, or make a project for it"
        )
    known = next((e for e in document.images if e.pixel_size is not None), first)
    if not same_pixel_size(image.pixel_size, known.pixel_size):
        raise InputError(
            f"{what} its pixels are {image.pixel_size} um, those of {Path(known.path).name} {known.pixel_size} um; give images of "
            "one pixel size, or correct it with pixel_size"
        )
