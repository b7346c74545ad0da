"""Annotations as GeoJSON, as QuPath exports and imports them: shapes with the name and colour of a class.

Coordinates are pixels of the whole image, (0, 0) its first corner; a pixel belongs to a shape that its centre lies in.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.errors import InputError
from brushwork.image import SPATIAL, Image
from brushwork.io.aside import written_aside
from brushwork.io.wrong import not_readable
from brushwork.labels import Labels, from_coords
from brushwork.outlines import MOST_PIXELS, containing, crossed, enclosed, n_enclosed, places, polygons

SUFFIXES = (".geojson", ".json")
WANTED = "GeoJSON"
ANNOTATION = ("annotation", "PathAnnotationObject", "unknown")
FURTHEST = 1e9  # pixels; what lies further out is no coordinate
IGNORED = "*"  # what ends like this is a class that QuPath leaves out


@dataclass(frozen=True, eq=False)
class Annotation:
    """A shape of a class. name : of the class. color : "#rrggbb", "" where none is given. z, t : the plane it lies in.

    areas : polygons, each an outer ring and its holes. lines : points joined by a line. points : single ones. All (n, 2) x and y.
    """

    name: str
    color: str = ""
    z: int = 0
    t: int = 0
    areas: tuple[tuple[NDArray[np.float64], ...], ...] = field(default=(), repr=False)
    lines: tuple[NDArray[np.float64], ...] = field(default=(), repr=False)
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)), repr=False)

    def pixels(self, shape: Sequence[int], shift: Sequence[int] = (0, 0)) -> NDArray[np.int64]:
        """(n, 2): rows and columns of what it covers in a plane of `shape`, each once. shift : rows and columns that are added."""
        by = np.array(shift[::-1], np.float64)
        parts = [enclosed([ring + by for ring in rings], shape) for rings in self.areas]
        parts += [crossed(line + by, shape) for line in self.lines]
        parts += [containing(self.points + by, shape)] if len(self.points) else []
        if len(parts) == 1:
            return parts[0]
        return places(np.concatenate(parts) @ np.array([shape[1], 1]), shape)

    def n_pixels(self, shape: Sequence[int]) -> int:
        """How many pixels its parts cover in a plane of `shape`."""
        n_in_areas = sum(n_enclosed(rings, shape) for rings in self.areas)
        return n_in_areas + sum(len(crossed(p, shape)) for p in self.lines) + len(containing(self.points, shape))


# ---------------------------------------------------------------- reading


def read(path: Path) -> tuple[tuple[Annotation, ...], tuple[str, ...]]:
    """(annotations that have a class, in words what else there was and is left out).

    Raises InputError where the file is no GeoJSON, or holds shapes that are not understood.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise not_readable(path, WANTED, error) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not {WANTED}: {str(error).splitlines()[0]}") from None
    features = data.get("features", [data]) if isinstance(data, dict) else data
    if not isinstance(features, list) or not all(isinstance(f, dict) and f.get("type") == "Feature" for f in features):
        raise InputError(
            f"{path} is not {WANTED} of annotations; it should hold a FeatureCollection or a list of Features"
        )
    found, others, nameless, ignored = [], 0, 0, 0
    for number, feature in enumerate(features, start=1):
        try:
            if _kind(feature) not in ANNOTATION:
                others += 1
            elif not (name := _class_name(feature)):
                nameless += 1
            elif name.endswith(IGNORED):
                ignored += 1
            else:
                found.append(_annotation(name, feature))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise InputError(f"{path}: annotation {number} of {len(features)} cannot be understood ({error})") from None
    counts = {
        "of detections, cells or tiles": others,
        "without a class": nameless,
        f"of classes to be ignored (their name ends with {IGNORED})": ignored,
    }
    return tuple(found), tuple(
        f"{n} {'shape' if n == 1 else 'shapes'} {what} left out" for what, n in counts.items() if n
    )


def _kind(feature: Mapping[str, Any]) -> str:
    """QuPath 0.2 wrote the kind as id; later versions write an id of their own there."""
    properties = feature.get("properties") or {}
    told = [properties.get(key) for key in ("objectType", "object_type", "type")]
    told += [feature.get("id")] if str(feature.get("id")).endswith("Object") else []
    return next((str(kind) for kind in told if kind), "unknown")


def _class_name(feature: Mapping[str, Any]) -> str:
    """The name of an annotation's class; of one with parts ("names") those joined as QuPath shows them."""
    given = (feature.get("properties") or {}).get("classification")
    if isinstance(given, Mapping):
        names = given.get("names")
        given = ": ".join(map(str, names)) if names else given.get("name")
    return "" if given is None else str(given).strip()


def _color(feature: Mapping[str, Any]) -> str:
    """The class's colour: three numbers, or before QuPath 0.4 red, green and blue in one."""
    given = feature["properties"]["classification"]
    if not isinstance(given, Mapping):
        return ""
    color = given.get("color", given.get("colorRGB"))
    if isinstance(color, int):
        return f"#{color & 0xFFFFFF:06x}"
    return "#" + bytes(int(v) for v in color[:3]).hex() if isinstance(color, list) and len(color) >= 3 else ""


def _annotation(name: str, feature: Mapping[str, Any]) -> Annotation:
    geometry = feature["geometry"]
    plane = geometry.get("plane") or {}
    areas, lines, points = [], [], []
    for kind, coordinates in _parts(geometry):
        if kind == "Polygon" and coordinates:
            areas.append(tuple(_points(ring) for ring in coordinates))
        elif kind == "LineString":
            lines.append(_points(coordinates))
        elif kind == "Point":
            points += coordinates
    if not areas and not lines and not points:
        raise ValueError("it has no shape")
    single = {"points": _points(points)} if points else {}
    z, t = (int(plane.get(axis, 0)) for axis in "zt")
    return Annotation(name, _color(feature), z, t, tuple(areas), tuple(lines), **single)


def _parts(geometry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(kind, coordinates) of the polygons, lines and points that a geometry is made of."""
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _parts(part)
    elif kind in ("MultiPolygon", "MultiLineString"):
        for part in geometry["coordinates"]:
            yield kind.removeprefix("Multi"), part
    elif kind == "MultiPoint":
        yield "Point", geometry["coordinates"]
    elif kind == "Point":
        yield "Point", [geometry["coordinates"]]
    elif kind in ("Polygon", "LineString"):
        yield kind, geometry["coordinates"]
    else:
        raise ValueError(f"shapes of type {kind!r} are not known")


def _points(coordinates: Any) -> NDArray[np.float64]:
    points = np.array([(x, y) for x, y, *_ in coordinates], np.float64)
    if not len(points) or not (np.abs(points) <= FURTHEST).all():
        raise ValueError("its coordinates are no pixels")
    return points


def labels_from(
    annotations: Iterable[Annotation], classes: Mapping[str, int], image: Image, offset: Sequence[int] | None = None
) -> Labels:
    """The pixels that annotations cover; later ones lie on top.

    classes : name -> class, 0 to leave it out. offset : pixels along the spatial axes that are added to all places.
    Raises InputError where a shape lies in a plane that the image does not have, or none touches the image.
    """
    *before, down, right = offset if offset is not None else (0,) * len(image.shape)
    rows, columns = plane = image.shape[-2:]
    numbers, painted = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    total = 0
    for annotation in annotations:
        class_id = classes[annotation.name]
        if not class_id:
            continue
        first = _plane(annotation, image, before) * rows * columns
        at = annotation.pixels(plane, (down, right)) @ np.array([columns, 1]) + first
        total += len(at)
        if total > MOST_PIXELS:
            raise InputError(
                f"the annotations cover more than {MOST_PIXELS:,} pixels, too many to learn from; leave classes out"
            )
        numbers.append(at)
        painted.append(np.full(len(at), class_id, np.int32))
    found, last = np.unique(np.concatenate(numbers)[::-1], return_index=True)
    if not len(found):
        raise InputError(f"no annotation covers a pixel of {image.uri} ({' x '.join(map(str, image.shape))})")
    extent = (image.n_frames, *image.shape) if "t" in image.axes else image.shape
    return from_coords(
        np.stack(np.unravel_index(found, extent), axis=1), np.concatenate(painted)[::-1][last], image.shape
    )


def _plane(annotation: Annotation, image: Image, before: Sequence[int]) -> int:
    """The number of an annotation's plane among all: sections, frame by frame."""
    z = annotation.z + (before[0] if before else 0)
    depth = image.shape[0] if len(image.shape) == 3 else 1
    for letter, at, n in (("z", z, depth), ("t", annotation.t, image.n_frames)):
        if not 0 <= at < n:
            raise InputError(
                f"an annotation of class {annotation.name!r} lies at {letter} = {at}; {image.uri} has {n} there: "
                "is this another image?"
            )
    return annotation.t * depth + z


# ---------------------------------------------------------------- writing


def write(labels: Labels, path: Path, names: Mapping[int, str], colors: Mapping[int, str], *, overwrite: bool) -> None:
    """One annotation per stroke and plane, whose outlines run along the edges of pixels: `labels_from` gives the same pixels back.

    names, colors : of each class; colors "#rrggbb".
    """
    with written_aside(path, overwrite=overwrite) as aside, aside.open("w", encoding="utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for number, feature in enumerate(_features(labels, names, colors)):
            file.write(",\n" if number else "\n")
            json.dump(feature, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n]}\n")


def _features(labels: Labels, names: Mapping[int, str], colors: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    planes = labels.coords[:, :-2]
    keys = np.column_stack([labels.strokes, planes])
    order = np.lexsort(keys.T[::-1])
    cuts = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(1)) + 1
    for which in np.split(order, cuts) if len(order) else []:
        class_id = int(labels.classes[which[0]])
        properties = {
            "objectType": "annotation",
            "classification": {"name": names[class_id], "color": list(bytes.fromhex(colors[class_id][1:]))},
        }
        geometry = _geometry(labels.coords[which, -2:])
        plane = dict(zip(("t" * labels.has_time + SPATIAL[-len(labels.shape) :])[:-2], planes[which[0]].tolist()))
        if plane:
            geometry["plane"] = {"c": -1, "z": plane.get("z", 0), "t": plane.get("t", 0)}
        yield {"type": "Feature", "geometry": geometry, "properties": properties}


def _geometry(pixels: NDArray[np.int64]) -> dict[str, Any]:
    found = [[[*ring.tolist(), ring[0].tolist()] for ring in rings] for rings in polygons(pixels)]
    if len(found) == 1:
        return {"type": "Polygon", "coordinates": found[0]}
    return {"type": "MultiPolygon", "coordinates": found}
