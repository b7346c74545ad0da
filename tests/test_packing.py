"""A packed project is small, complete and trains again to the same rows."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import brushwork as bw
from brushwork.errors import InputError, RunError
from brushwork.project import ImageMissing, ImageReplaced, Project

SHAPE = (900, 1100)
CORNERS = ((20, 30), (850, 1000))


def stripe(y, x, n=12):
    return np.array([(y, x + i) for i in range(n)])


@pytest.fixture
def project(tmp_path):
    """A large image with strokes in three far corners, a small one with a stroke in the middle, one that nobody painted on."""
    rng = np.random.default_rng(0)
    made = Project.create(tmp_path / "large.brushwork")
    made.add_task("cells")
    for name in ("dark", "bright", "unsure"):
        made.add_class("cells", name)
    made.change_task("cells", features="gaussian:1,3.5; hessian:1.6")
    for name, shape in (("large", SHAPE), ("small", (90, 70)), ("empty", (50, 50))):
        pixels = rng.normal(100, 20, shape).astype(np.float32)
        pixels[: shape[0] // 2] += 80
        np.save(tmp_path / f"{name}.npy", pixels)
        made.add_image(tmp_path / f"{name}.npy", pixel_size=(0.25, 0.25))
    large, small, _ = (e.id for e in made.document.images)
    for y, x in CORNERS:
        made.paint("cells", large, 1 if y > 400 else 2, stripe(y, x))
        made.paint("cells", large, 1, stripe(y + 3, x), check=True)
    made.paint("cells", large, 2, np.concatenate([stripe(40, 40), stripe(45, 1010)]))  # one stroke in two corners
    made.paint("cells", small, 1, stripe(45, 30))
    made.paint("cells", small, 2, stripe(10, 30))
    made.paint("cells", small, 0, stripe(10, 30, n=4))
    made.paint("cells", small, 2, stripe(80, 30))
    made.undo("cells", small)
    yield made
    made.close()


def unpacked(path, to):
    shutil.unpack_archive(path, to)
    return Project.open(to / "large.brushwork")


def in_whole(project, labels_of):
    """{(image, *place in the whole image): (class, check)} of all painted pixels; crops are put back where they were."""
    found = {}
    for entry in project.document.images:
        part = entry.part_of or {"image": entry.id, "offset": [0] * len(entry.extent)}
        for check in (False, True):
            labels = labels_of(entry.id, check)
            frame, offset = part["offset"][: -labels.coords.shape[1]], part["offset"][-labels.coords.shape[1] :]
            for place, value in zip((labels.coords + offset).tolist(), labels.classes.tolist()):
                assert (part["image"], *frame, *place) not in found
                found[(part["image"], *frame, *place)] = value, check
    return found


def painted(project):
    return in_whole(project, lambda image, check: project.labels("cells", image, check=check))


def test_crops_hold_every_painted_pixel_where_it_was_and_little_else(project, tmp_path):
    out = project.pack(tmp_path / "out.zip")
    with unpacked(out, tmp_path / "there") as packed:
        assert painted(packed) == painted(project)
        assert sum(np.prod(e.shape) for e in packed.document.images) < 0.2 * np.prod(SHAPE)
        for entry in packed.document.images:
            whole = project.image(entry.part_of["image"])
            stop = tuple(o + n for o, n in zip(entry.part_of["offset"], entry.shape))
            wanted = whole.read(bw.Region(tuple(entry.part_of["offset"]), stop))
            np.testing.assert_array_equal(packed.image(entry.id).read(bw.blocks.whole(entry.shape)), wanted)
            assert packed.image(entry.id).pixel_size == whole.pixel_size
            assert packed.image(entry.id).channel_names == whole.channel_names
    assert out.stat().st_size < (tmp_path / "large.npy").stat().st_size / 4


def test_crops_give_the_feature_rows_of_the_whole_images(project, tmp_path):
    rows = {}
    with unpacked(project.pack(tmp_path / "out.zip"), tmp_path / "there") as packed:
        for which, one in (("whole", project), ("crops", packed)):
            examples, names, colors = one.training()
            prepared = bw.training.prepare(examples, one.document.task().features, classes=names)
            order = np.lexsort(prepared.table.rows.T)
            rows[which] = (prepared.table.rows[order], prepared.table.y[order], names, colors, prepared.features)
    np.testing.assert_array_equal(rows["crops"][0], rows["whole"][0])
    np.testing.assert_array_equal(rows["crops"][1], rows["whole"][1])
    assert rows["crops"][2:] == rows["whole"][2:]


def test_a_packed_project_trains_to_a_model_that_predicts_the_whole_image(project, tmp_path):
    with unpacked(project.pack(tmp_path / "out.zip"), tmp_path / "there") as packed:
        model = packed.train()
    large = project.image(project.document.images[0].id)
    region = bw.Region((0, 500), (900, 540))
    guess = model.predict_block(large, model.block(large, region)).argmax(0)
    assert (guess[:440] == 1).mean() > 0.95
    assert (guess[460:] == 0).mean() > 0.95


def test_packing_keeps_tasks_models_and_the_order_of_strokes(project, tmp_path):
    project.train()
    project.add_task("more")
    project.add_class("more", "a")
    small = project.document.images[1].id
    project.paint("more", small, 1, stripe(60, 20))
    with unpacked(project.pack(tmp_path / "out.zip"), tmp_path / "there") as packed:
        tasks = packed.document.tasks
        assert [t.name for t in tasks] == ["cells", "more"]
        assert tasks[0].classes == project.document.tasks[0].classes
        ids = sorted(s.id for t in tasks for s in t.strokes)
        assert ids == list(range(1, len(ids) + 1))
        assert packed.document.next_stroke == len(ids) + 1
        assert tasks[0].models[0].last_stroke == len(tasks[0].strokes)
        assert bw.Classifier.load(packed.folder / tasks[0].models[0].file).classes == ("dark", "bright")
        assert not any(s.undone for t in tasks for s in t.strokes)
        assert packed.history()
        assert packed.paint("cells", packed.document.images[0].id, 1, stripe(1, 1)).id == len(ids) + 1


def test_the_packed_project_is_left_as_it_was(project, tmp_path):
    before = project.document
    project.pack(tmp_path / "out.zip")
    assert project.document is before
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".brushwork", ".npy", ".npy", ".npy", ".zip"]


def test_whole_copies_need_nothing_else(project, tmp_path):
    out = project.pack(tmp_path / "full.zip", full=True)
    wanted = painted(project)
    for path in tmp_path.glob("*.npy"):
        path.unlink()
    with unpacked(out, tmp_path / "there") as packed:
        assert painted(packed) == wanted
        assert [e.path for e in packed.document.images] == ["images/large.npy", "images/small.npy", "images/empty.npy"]
        assert packed.image(packed.document.images[2].id).shape == (50, 50)
        assert packed.train().classes == ("dark", "bright")


def test_images_of_one_name_do_not_meet(tmp_path):
    rng = np.random.default_rng(1)
    with Project.create(tmp_path / "large.brushwork") as made:
        made.add_task("t")
        made.add_class("t", "a")
        for i in range(2):
            (tmp_path / f"day{i}").mkdir()
            np.save(tmp_path / f"day{i}" / "same.npy", rng.random((40, 40), np.float32))
            made.paint("t", made.add_image(tmp_path / f"day{i}" / "same.npy").id, 1, stripe(i, i))
        crops, full = made.pack(tmp_path / "crops.zip"), made.pack(tmp_path / "full.zip", full=True)
    for out in (crops, full):
        with unpacked(out, tmp_path / out.stem) as packed:
            assert len({e.path for e in packed.document.images}) == 2
            for i, entry in enumerate(packed.document.images):
                assert packed.image(entry.id).shape == (40, 40)
                assert packed.labels("t", entry.id).coords[0].tolist() == [i, i]


@pytest.mark.parametrize(
    ("shape", "axes"), [((3, 60, 70), "cyx"), ((4, 60, 70), "tyx"), ((30, 60, 70), "zyx"), ((2, 9, 60, 70), "tzyx")]
)
def test_channels_frames_and_stacks_are_packed_too(tmp_path, shape, axes):
    rng = np.random.default_rng(2)
    np.save(tmp_path / "i.npy", rng.integers(0, 999, shape).astype(np.uint16))
    with Project.create(tmp_path / "large.brushwork") as made:
        entry = made.add_image(tmp_path / "i.npy", axes=axes)
        made.add_task("cells")
        made.change_task("cells", features="gaussian:1")
        for c in (1, 2):
            made.add_class("cells", f"class {c}")
            coords = np.unique(rng.integers(0, entry.extent, (30, len(entry.extent))), axis=0)
            made.paint("cells", entry.id, c, coords)
        wanted, rows = painted(made), _rows(made)
        out = made.pack(tmp_path / "out.zip")
    with unpacked(out, tmp_path / "there") as packed:
        assert {e.n_frames for e in packed.document.images} == {1}
        assert {e.dtype for e in packed.document.images} == {"uint16"}
        assert painted(packed) == wanted
        np.testing.assert_array_equal(_rows(packed), rows)
        assert packed.train().classes == ("class 1", "class 2")


def _rows(project):
    examples, names, _ = project.training()
    table = bw.training.prepare(examples, "gaussian:1", classes=names, priors="strokes").table
    both = np.column_stack([table.y, table.rows])
    return both[np.lexsort(both.T)]


@pytest.mark.parametrize("full", [False, True])
def test_masks_and_nicknames_are_packed_too(project, tmp_path, full):
    """A mask is cut as its image is; those of two images that look the same stay apart."""
    rng = np.random.default_rng(3)
    (tmp_path / "masks").mkdir()
    for entry in project.document.images[:2]:
        mask = rng.integers(0, 2, entry.shape).astype(bool)
        np.save(tmp_path / "masks" / Path(entry.path).name, mask)
        project.mask_image(entry.id, tmp_path / "masks" / Path(entry.path).name)
        project.name_image(entry.id, f"the {Path(entry.path).stem} one")
    wanted = {
        e.id: (e.nickname, project.image(e.mask.id).source[:]) for e in project.document.images if e.mask is not None
    }
    packed = project.pack(tmp_path / "out.zip", full=full)
    (tmp_path / "masks").rename(tmp_path / "gone")
    with unpacked(packed, tmp_path / "there") as copy:
        assert len({e.id for e in copy.document.entries}) == len(copy.document.entries)
        found = [e for e in copy.document.images if e.mask is not None]
        assert len(found) == (2 if full else len(copy.document.images))
        for entry in found:
            part = entry.part_of or {"image": entry.id, "offset": [0, 0]}
            nickname, mask = wanted[part["image"]]
            y, x = part["offset"]
            assert entry.nickname == nickname
            np.testing.assert_array_equal(
                copy.image(entry.mask.id).read(bw.blocks.whole(entry.shape))[0],
                mask[y : y + entry.shape[0], x : x + entry.shape[1]],
            )
    project.close()
    with Project.open(project.folder) as again, pytest.raises(ImageMissing, match="relink"):
        again.pack(tmp_path / "later.zip", full=full)


def test_nothing_painted_is_nothing_to_pack(tmp_path):
    np.save(tmp_path / "i.npy", np.zeros((30, 30)))
    with Project.create(tmp_path / "p.brushwork") as made:
        made.add_image(tmp_path / "i.npy")
        with pytest.raises(InputError, match="nothing is painted"):
            made.pack(tmp_path / "out.zip")
        made.pack(tmp_path / "full.zip", full=True)
    assert not (tmp_path / "out.zip").exists()


@pytest.mark.parametrize("full", [False, True])
def test_an_image_that_is_gone_or_another_is_said_and_no_zip_is_left(project, tmp_path, full):
    project.close()
    np.save(tmp_path / "large.npy", np.zeros(SHAPE, np.float32))
    with Project.open(project.folder) as again:
        with pytest.raises(ImageReplaced):
            again.pack(tmp_path / "out.zip", full=full)
        (tmp_path / "large.npy").unlink()
        with pytest.raises(ImageMissing):
            again.pack(tmp_path / "out.zip", full=full)
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob(".out*"))


def test_an_existing_zip_or_another_suffix_is_refused(project, tmp_path):
    with pytest.raises(InputError, match=r"ends with \.zip"):
        project.pack(tmp_path / "out.tar")
    (tmp_path / "out.zip").touch()
    with pytest.raises(InputError, match="exists already"):
        project.pack(tmp_path / "out.zip")


def test_a_full_disk_leaves_no_zip(project, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "write", full)
    with pytest.raises(RunError, match="disk is full"):
        project.pack(tmp_path / "out.zip")
    assert not list(tmp_path.glob("*.zip"))


def test_a_read_only_project_can_be_packed(project, tmp_path):
    project.flush()
    second = Project.open(project.folder)
    assert second.read_only
    assert second.pack(tmp_path / "out.zip").exists()
    second.close()
