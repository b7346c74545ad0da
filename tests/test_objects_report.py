"""The page about objects: numbers that agree with the table, every kind of volume, nothing missing passed over."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage as ndi

from brushwork import objects_report, segmenting
from brushwork.cli.showing import report
from brushwork.density import density_of
from brushwork.errors import InputError, RunError
from brushwork.foreground import Foreground
from brushwork.image import as_image
from brushwork.io import open_image, write_image
from brushwork.objects import Rule
from brushwork.segmenting import Inputs, segment
from brushwork.table import Table

HOSTILE = '<script>alert("1")</script>'


def pixels(shape=(60, 70), frames=0, seed=0):
    """(background, cell) uint8; about a dozen cells per frame."""
    random = np.random.default_rng(seed)
    stored = np.zeros((max(frames, 1), 2, *shape), np.uint8)
    for frame in stored:
        seeds = random.random(shape) < 25 / np.prod(shape)
        frame[1] = 255 * ndi.binary_dilation(seeds, iterations=2)
        frame[0] = 255 - frame[1]
    return stored if frames else stored[0]


def a_folder(folder: Path, stored=None, pixel_size=None, axes="cyx") -> Path:
    """A folder as `segment` leaves it, with the images beside it."""
    stored = pixels() if stored is None else stored
    map_, image = folder.parent / "map.ome.zarr", folder.parent / "raw.ome.zarr"
    write_image(as_image(stored, axes=axes, pixel_size=pixel_size), map_)
    write_image(as_image(stored.take(1, axes.index("c")), axes=axes.replace("c", ""), pixel_size=pixel_size), image)
    segment(open_image(map_), folder, Rule(Foreground(1)), Inputs({"dapi": open_image(image)}))
    return folder


def page_of(folder: Path, **asked) -> str:
    page, _ = objects_report.write_objects_report(folder, **asked)
    return page.read_text()


def n_pictures(page: str) -> int:
    return len(re.findall(r'<img src="data:image/', page))


# ---------------------------------------------------------------- the page


def test_a_plane(tmp_path):
    folder = a_folder(tmp_path / "cells", pixel_size=(0.5, 0.5))
    page = page_of(folder)
    n = len(objects_report._table_of(folder))
    assert f"<b>{n}</b><span>objects</span>" in page
    assert "per mm²" in page
    assert "intensity_mean-dapi" in page
    assert "over the raw image dapi" in page
    assert n_pictures(page) == 2
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_volume_is_seen_from_above_twice(tmp_path):
    page = page_of(a_folder(tmp_path / "cells", pixels((12, 30, 34)), (2.0, 1.0, 1.0), "czyx"))
    assert "Largest density along z, objects per mm³" in page
    assert "All objects along z, per mm²" in page
    assert n_pictures(page) == 3


def test_frames(tmp_path):
    folder = a_folder(tmp_path / "cells", pixels(frames=3), axes="tcyx")
    page = page_of(folder)
    assert "frame 2 of 3" in page or "frame 1 of 3" in page or "frame 3 of 3" in page
    assert "mean of all frames" in page
    assert open_image(folder / "density.tif").n_frames == 3


@pytest.mark.parametrize("n", [0, 1])
def test_hardly_anything_found(tmp_path, n):
    stored = np.zeros((2, 40, 50), np.uint8)
    stored[1, 10 : 10 + n, 20] = 255
    page = page_of(a_folder(tmp_path / "cells", stored))
    assert f"<b>{n}</b>" in page
    assert n_pictures(page) == 2
    assert ("nothing to show" in page) == (n == 0)


def test_outlines_are_drawn_around_the_objects(tmp_path):
    stored = np.zeros((2, 40, 50), np.uint8)
    stored[1, 10:20, 20:30] = 255
    page = page_of(a_folder(tmp_path / "cells", stored))
    png = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", page)[1])
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    is_coloured = np.ptp(picture, axis=2) > 0
    ring = np.zeros((40, 50), bool)
    ring[10:20, 20:30] = True
    ring[11:19, 21:29] = False
    np.testing.assert_array_equal(is_coloured, ring)


def test_images_that_moved_are_told(tmp_path):
    folder = a_folder(tmp_path / "cells")
    shutil.rmtree(tmp_path / "raw.ome.zarr")
    page = page_of(folder)
    assert "Raw image dapi could not be opened" in page
    assert "over the probabilities" in page
    shutil.rmtree(tmp_path / "map.ome.zarr")
    page = page_of(folder)
    assert "Probabilities could not be opened" in page
    assert n_pictures(page) == 2
    shutil.rmtree(folder / "objects.ome.zarr")
    page = page_of(folder)
    assert "The objects could not be drawn" in page
    assert n_pictures(page) == 1


def test_an_image_that_was_replaced_by_another_is_told(tmp_path):
    folder = a_folder(tmp_path / "cells")
    write_image(as_image(np.zeros((5, 6), np.uint8)), tmp_path / "raw.ome.zarr", overwrite=True)
    assert "it is (5, 6)" in page_of(folder)


def test_names_are_escaped(tmp_path):
    stored = pixels()
    write_image(as_image(stored[1]), tmp_path / "raw.ome.zarr")
    raw = {HOSTILE: open_image(tmp_path / "raw.ome.zarr")}
    segment(as_image(stored, axes="cyx"), tmp_path / "cells", Rule(Foreground(1)), Inputs(raw), where="area > 0")
    page = page_of(tmp_path / "cells")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_of_a_large_section_the_fullest_part_is_outlined(tmp_path, monkeypatch):
    monkeypatch.setattr(objects_report, "WINDOW", 40)
    stored = np.zeros((2, 120, 130), np.uint8)
    stored[1, 70:110:6, 60:100:6] = 255
    stored[1, 5, 5] = 255
    folder = a_folder(tmp_path / "cells", stored)
    page = page_of(folder)
    assert "the marked part is shown beside it" in page
    section = open_image(folder / "objects.ome.zarr")
    table = objects_report._table_of(folder)
    window = objects_report._window(table, objects_report.view_of(section.shape).region, 0, 0)
    assert window.shape == (40, 40)
    assert len(np.unique(section.read(window))) > len(table) // 2


def test_the_section_is_the_fullest(tmp_path):
    stored = np.zeros((2, 9, 20, 20), np.uint8)
    stored[1, 6, ::4, ::4] = 255
    stored[1, 2:4, 1, 1] = 255
    stored[1, 8, 2, 2] = 255  # the last one to begin
    assert "section 7 of 9" in page_of(a_folder(tmp_path / "cells", stored, axes="czyx"))


def test_a_folder_without_objects_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no brushwork-objects\.json"):
        objects_report.write_objects_report(tmp_path)
    (tmp_path / segmenting.RECORD).write_text("{")
    with pytest.raises(InputError, match="damaged"):
        objects_report.write_objects_report(tmp_path)
    (tmp_path / segmenting.RECORD).write_text("[]")
    with pytest.raises(InputError, match="not the record"):
        objects_report.write_objects_report(tmp_path)


def test_a_page_that_cannot_be_written(tmp_path):
    folder = a_folder(tmp_path / "cells")
    with pytest.raises(RunError, match="could not be written"):
        objects_report.write_objects_report(folder, tmp_path / "nowhere" / "page.html")


# ---------------------------------------------------------------- numbers


def test_a_histogram_holds_every_object_once():
    random = np.random.default_rng(0)
    for values in (
        random.normal(size=500),
        random.random(37),
        random.integers(-3, 90, 500),
        np.array([7]),
        np.array([2.5, np.nan]),
    ):
        made = objects_report.histogram("area", values, 2)
        assert sum(made.bars) + made.beyond == np.isfinite(values).sum()
        assert len(made.bars) <= objects_report.BINS
        assert made.beyond == 0 or len(values) >= objects_report.ENOUGH
        assert made.low <= made.ends[0] <= made.ends[1] <= made.high


def test_a_long_tail_does_not_flatten_a_histogram():
    made = objects_report.histogram("area", np.r_[np.arange(1000) % 50, 100_000], 2)
    assert made.beyond == 1
    assert made.high < 60


def test_numbers_of_a_column():
    made = objects_report.numbers("area", np.array([1.0, 2, 3, 4, 5, np.nan]), 2)
    assert (made.known, made.mean, made.quartiles) == (5, 3.0, (1, 2, 3, 4, 5))


# ---------------------------------------------------------------- density


def centroids(points, frame=None) -> Table:
    columns = {f"centroid-{i}": column for i, column in enumerate(np.array(points, float).T)}
    return Table(columns | ({"frame": np.array(frame)} if frame is not None else {}))


def test_density_counts_centroids_per_area():
    # 100 x 60 pixels of 10 um in blocks of 400 um: 0.16 mm2, and less in the narrow ones at the end
    table = centroids([(0, 0), (39.4, 39.4), (39.5, 0), (99.4, 59.4)])
    made = density_of(table, (100, 60), pixel_size=(10.0, 10.0), edge=400.0, spacing=(10.0, 10.0))
    assert made.block == (40, 40)
    assert made.counts[0].tolist() == [[2, 0], [1, 0], [0, 1]]
    assert made.values[0] == pytest.approx(np.array([[2 / 0.16, 0], [1 / 0.16, 0], [0, 1 / 0.04]]))
    assert made.unit == "mm²"


def test_density_of_frames_and_of_depth():
    table = centroids([(0, 1, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1)], frame=[0, 0, 1, 1])
    made = density_of(table, (4, 2, 2), n_frames=2, edge=2)
    assert made.unit == "million voxels"
    assert made.counts.sum() == 4
    largest, total = made.seen_from_above()
    assert largest.tolist() == [[1.5 / 8e-6]]
    assert total.tolist() == [[2 / 4e-6]]


def test_density_refuses_what_lies_outside():
    with pytest.raises(InputError, match="outside"):
        density_of(centroids([(0, 30)]), (10, 10))
    with pytest.raises(InputError, match="give larger ones"):
        density_of(centroids([(0, 3)]), (1 << 14, 1 << 14), edge=1)
    with pytest.raises(InputError, match="blocks of 0"):
        density_of(centroids([(0, 3)]), (10, 10), edge=0)


def test_the_map_lies_over_the_image(tmp_path):
    folder = a_folder(tmp_path / "cells", pixels((12, 30, 34)), (2.0, 1.0, 1.0), "czyx")
    _, path = objects_report.write_objects_report(folder, edge=6, spacing=(2.0, 1.0, 1.0))
    image = open_image(path)
    assert image.shape == (4, 5, 6)  # 3 x 6 x 6 pixels a block, 4 columns in the last ones
    assert image.pixel_size == (6.0, 6.0, 6.0)
    per_block = image.source[:] * 216e-9
    assert image.source[:].max() > 0
    assert per_block[:, :, :5] == pytest.approx(np.rint(per_block[:, :, :5]), abs=1e-4)


# ---------------------------------------------------------------- on the command line


def test_the_command_writes_the_page_of_what_a_folder_holds(tmp_path):
    folder = a_folder(tmp_path / "cells", pixel_size=(0.5, 0.5))
    report(folder, None, "10um")
    assert (folder / "objects.html").is_file()
    assert open_image(folder / "density.tif").pixel_size == pytest.approx((10, 10))
    assert not (folder / "report.html").exists()
    with pytest.raises(InputError, match="holds no objects"):
        report(tmp_path, None, "10um")


def test_a_page_elsewhere_takes_its_map_along_and_nothing_else(tmp_path):
    folder = a_folder(tmp_path / "cells")
    (tmp_path / "density.tif").write_text("mine")
    page, density = objects_report.write_objects_report(folder, tmp_path / "page.html")
    assert (page.name, density.name) == ("page.html", "page_density.tif")
    assert "page_density.tif" in page.read_text()
    assert (tmp_path / "density.tif").read_text() == "mine"
