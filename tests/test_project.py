"""A project never loses a stroke, never puts one on the wrong image, and trains as `train` does."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label

import brushwork as bw
from brushwork import ledger as ledger_module
from brushwork import project_folder
from brushwork.changes import CHANGES, applied
from brushwork.document import Document, document_from_json, document_to_json
from brushwork.errors import InputError, RunError
from brushwork.journal import Record, encoded, read_records
from brushwork.labels import from_array
from brushwork.project import ImageMissing, ImageReplaced, Project
from brushwork.strokes import packed, unpacked
from painting import strokes_on, two_tone

SHAPE = (60, 80)


def line(y, x=0, n=5):
    return np.array([(y, x + i) for i in range(n)])


def saved(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


@pytest.fixture
def picture(tmp_path):
    return saved(tmp_path / "cells.npy", two_tone(SHAPE)[0])


@pytest.fixture
def project(tmp_path, picture):
    """A project of one image and the task "cells" with the classes 1 (background) and 2 (nucleus)."""
    made = Project.create(tmp_path / "cells.brushwork")
    made.add_image(picture)
    made.add_task("cells")
    made.add_class("cells", "background")
    made.add_class("cells", "nucleus")
    yield made
    made.close()


@pytest.fixture
def image(project):
    return project.document.images[0].id


def crashed_copy(project, to):
    """The folder as a kill at this moment would leave it; its lock is of a process that is gone."""
    project._ledger._journal.flush()
    shutil.copytree(project.folder, to)
    (to / "lock").unlink(missing_ok=True)
    return to


def facts(document):
    """All of a document that can be compared."""
    return document_to_json(document)


def as_array(labels, shape=SHAPE):
    assert labels.classes.all(), "what was erased is not painted"
    array = np.zeros(shape, int)
    array[tuple(labels.coords.T)] = labels.classes
    return array


def paint_truth(project, image, n=4, seed=0, task="cells"):
    painted = strokes_on(two_tone(SHAPE)[1], n=n, seed=seed)
    for c in (1, 2):
        components, k = label(painted == c)
        for i in range(1, k + 1):
            project.paint(task, image, c, np.argwhere(components == i))
    return painted


# ---------------------------------------------------------------- create, open, close


def test_a_project_opens_as_it_was_closed(project, image):
    stroke = project.paint("cells", image, 1, line(3), origin="fill", check=True)
    project.paint("cells", image, 0, line(3, n=2), origin="eraser")
    project.undo("cells", image)
    project.change_task("cells", features="fast", priors="strokes", seed=3, channels=["intensity"])
    project.close()
    with Project.open(project.folder) as again:
        assert facts(again.document) == facts(project.document)
        assert not again.notes
        assert not again.read_only
        found = again.document.tasks[0].strokes[0]
        assert (found.id, found.origin, found.check, found.when) == (stroke.id, "fill", True, stroke.when)
        np.testing.assert_array_equal(found.coords, stroke.coords)
        assert again.document.task().channels == ("intensity",)


def test_the_summary_tells_people_what_there_is(project, image):
    project.paint("cells", image, 2, line(1))
    project.flush()
    told = json.loads((project.folder / "project.json").read_text())
    assert (told["format"], told["version"]) == ("brushwork-project", 1)
    assert told["images"][0]["path"] == "../cells.npy"
    assert [c["strokes"] for c in told["tasks"][0]["classes"]] == [0, 1]


@pytest.mark.parametrize("name", ["cells", "cells.zip"])
def test_a_project_has_a_name_that_says_so(tmp_path, name):
    with pytest.raises(InputError, match=r"\.brushwork"):
        Project.create(tmp_path / name)
    with pytest.raises(InputError, match="not a project"):
        Project.open(tmp_path / name)


def test_a_folder_that_is_taken_is_refused(tmp_path, project):
    with pytest.raises(InputError, match="exists already"):
        Project.create(project.folder)
    (tmp_path / "other.brushwork").mkdir()
    (tmp_path / "other.brushwork" / "notes.txt").touch()
    with pytest.raises(InputError, match="holds no"):
        Project.open(tmp_path / "other.brushwork")


def test_a_closed_project_says_so(project, image):
    project.close()
    with pytest.raises(InputError, match="was closed"):
        project.paint("cells", image, 1, line(0))


def test_the_second_to_open_can_look_and_is_told_who_has_it(project, image):
    project.paint("cells", image, 1, line(0))
    project.flush()
    second = Project.open(project.folder)
    assert second.read_only
    assert str(os.getpid()) in second.why_read_only
    assert len(second.labels("cells", image)) == 5
    before = sorted(p.name for p in project.folder.iterdir())
    for change in (
        lambda: second.paint("cells", image, 1, line(1)),
        lambda: second.undo("cells", image),
        lambda: second.add_task("more"),
        lambda: second.snapshot(),
        lambda: second.train(),
        lambda: second.relink(image, "x.npy"),
    ):
        with pytest.raises(InputError, match="open in another program"):
            change()
    second.flush()
    second.close()
    assert sorted(p.name for p in project.folder.iterdir()) == before
    project.paint("cells", image, 1, line(2))


def test_another_process_is_told_who_has_it(project):
    code = f"from brushwork.project import Project; print(Project.open({str(project.folder)!r}).why_read_only)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"process {os.getpid()}" in said


def test_a_folder_that_cannot_be_written_can_be_looked_at(project, image, monkeypatch):
    project.paint("cells", image, 1, line(0))
    project.close()

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied", str(project.folder))

    before = {p: p.read_bytes() for p in project.folder.rglob("*") if p.is_file()}
    monkeypatch.setattr("brushwork.io.locks.os.open", refuse)
    with Project.open(project.folder) as again:
        assert "cannot be written" in again.why_read_only
        assert len(again.labels("cells", image)) == 5
    assert {p: p.read_bytes() for p in project.folder.rglob("*") if p.is_file()} == before


# ---------------------------------------------------------------- damage


def test_cut_at_every_byte_a_project_opens_with_all_whole_changes(tmp_path, project, image):
    for y in range(3):
        project.paint("cells", image, 1, line(y))
    folder = crashed_copy(project, tmp_path / "crash.brushwork")
    log = (folder / "strokes.log").read_bytes()
    states = [Document()]
    for record in read_records(folder / "strokes.log")[0]:
        states.append(applied(states[-1], record))
    ends = np.cumsum([0] + [len(encoded(r)) for r in read_records(folder / "strokes.log")[0]])
    for cut in range(0, len(log) + 1, 3):
        (folder / "strokes.log").write_bytes(log[:cut])
        with Project.open(folder) as opened:
            n = int((ends <= cut).sum()) - 1
            assert facts(opened.document) == facts(states[n] if n else applied(Document(), _begin(opened)))
            assert any("cut off" in note for note in opened.notes) == (cut > ends[n])
        for aside in folder.glob("*.damaged-*"):
            aside.unlink()


def _begin(project):
    return read_records(project.folder / "strokes.log")[0][0]


def test_a_flipped_byte_in_the_middle_keeps_what_is_before_and_sets_the_rest_aside(tmp_path, project, image):
    for y in range(4):
        project.paint("cells", image, 1, line(y))
    folder = crashed_copy(project, tmp_path / "flip.brushwork")
    log = bytearray((folder / "strokes.log").read_bytes())
    records, size = read_records(folder / "strokes.log")
    at = size - sum(len(encoded(r)) for r in records[-2:]) + 30
    log[at] ^= 1
    (folder / "strokes.log").write_bytes(log)
    with Project.open(folder) as opened:
        assert len(opened.document.task().strokes) == 2
        assert any("strokes.log.damaged-1" in note for note in opened.notes)
        opened.paint("cells", image, 2, line(9))
    assert (folder / "strokes.log.damaged-1").stat().st_size == sum(len(encoded(r)) for r in records[-2:])
    with Project.open(folder) as again:
        assert [s.class_id for s in again.document.task().strokes] == [1, 1, 2]


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"format": "brushwork-project"}', b"\xff\xfe"])
def test_a_damaged_summary_is_made_of_the_rest(project, image, content):
    project.paint("cells", image, 1, line(0))
    project.close()
    summary = project.folder / "project.json"
    good = json.loads(summary.read_text())
    summary.unlink()
    if content is not None:
        summary.write_bytes(content)
    with Project.open(project.folder) as again:
        assert "project.json" in again.notes[0]
        assert len(again.labels("cells", image)) == 5
    assert json.loads(summary.read_text()) == good


def test_a_project_of_a_newer_version_is_refused_and_left_as_it_is(project):
    project.close()
    summary = project.folder / "project.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"version": 3}))
    before = summary.read_bytes()
    with pytest.raises(InputError, match="format 3, this brushwork reads up to 2"):
        Project.open(project.folder)
    assert summary.read_bytes() == before
    assert not (project.folder / "lock").exists()


VERSION_1 = (  # what the first version of the format wrote for an image, a task, two classes and a stroke
    ({"kind": "begin", "version": 1}, ""),
    ({"kind": "image", "image": {
        "id": "53c1", "path": "../cells.npy", "shape": [60, 80], "axes": "yx", "dtype": "float64", "n_frames": 1,
        "channel_names": ["intensity"], "pixel_size": None, "options": {}, "part_of": None}}, ""),
    ({"kind": "task", "task": "cells"}, ""),
    ({"kind": "class", "task": "cells", "class": {"id": 1, "name": "in", "color": "#E69F00", "visible": True}}, ""),
    ({"kind": "class", "task": "cells", "class": {"id": 2, "name": "out", "color": "#56B4E9", "visible": False}}, ""),
    ({"kind": "stroke", "task": "cells", "stroke": {
        "id": 1, "image": "53c1", "class_id": 2, "check": False, "origin": "brush", "when": 1.5, "undone": False,
        "extent": [60, 80], "pixels": 3, "width": 4}}, "78010b6260606004625f200600052000a1"),
)  # fmt: skip


def test_projects_of_the_first_version_are_read_forever(tmp_path):
    """A sample of the format: as changes, and as a whole document."""
    folder = tmp_path / "old.brushwork"
    folder.mkdir()
    records = [
        Record({"n": n, "when": 0.0, **header}, bytes.fromhex(payload))
        for n, (header, payload) in enumerate(VERSION_1, 1)
    ]
    (folder / "strokes.log").write_bytes(b"".join(map(encoded, records)))
    with Project.open(folder) as old:
        document = old.document
    entry, task = document.images[0], document.task()
    assert (document.version, entry.title, entry.mask, entry.extent) == (1, "cells.npy", None, (60, 80))
    assert [(c.name, c.color, c.map_color) for c in task.classes] == [
        ("in", "#E69F00", "#E69F00"),
        ("out", "#56B4E9", "#56B4E9"),
    ]
    assert task.strokes[0].coords.tolist() == [[1, 2], [1, 3], [2, 0]]
    written, payload = document_to_json(document)
    told = json.loads(json.dumps(written))
    assert told["version"] == 1
    assert told["images"] == [VERSION_1[1][0]["image"]]
    assert told["tasks"][0]["classes"] == [header["class"] for header, _ in VERSION_1 if header["kind"] == "class"]
    assert facts(document_from_json(told, payload)) == (written, payload)


NEW_IN_2 = {
    "nickname": lambda project, image, mask: project.name_image(image, "the first"),
    "mask": lambda project, image, mask: project.mask_image(image, mask),
    "colour": lambda project, image, mask: project.change_class("cells", 1, prediction_color="#102030"),
    "further class": lambda project, image, mask: project.add_class("cells", "c", prediction_color="#102030"),
    "image": lambda project, image, mask: project.expect_image(
        replace(project.document.images[0], nickname="the second")
    ),
}


@pytest.mark.parametrize("what", NEW_IN_2)
@pytest.mark.parametrize("way", ["changes", "snapshot", "packed"])
def test_what_the_first_version_could_not_hold_is_not_half_read_by_it(project, image, tmp_path, monkeypatch, what, way):
    assert project.document.version == 1
    NEW_IN_2[what](project, image, saved(tmp_path / "mask.npy", np.ones(SHAPE, np.uint8)))
    assert project.document.version == 2
    project.undo("cells", image)
    folder = project.folder
    if way == "snapshot":
        project.snapshot()
    if way == "packed" and what != "image":  # which is missing
        shutil.unpack_archive(project.pack(tmp_path / "p.zip", full=True), tmp_path / "there")
        folder = tmp_path / "there" / "cells.brushwork"
    wanted = facts(project.document)
    project.close()
    with Project.open(folder) as again:
        assert again.document.version == 2
        if way != "packed":
            assert facts(again.document) == wanted
    (folder / "project.json").unlink()
    monkeypatch.setattr("brushwork.changes.VERSION", 1)
    monkeypatch.setattr("brushwork.document.VERSION", 1)
    with pytest.raises(InputError, match="format 2, this brushwork reads up to 1"):
        Project.open(folder)


def test_a_change_of_an_unknown_kind_is_refused(project):
    project.close()
    serial = project.document.serial + 1
    with (project.folder / "strokes.log").open("ab") as file:
        file.write(encoded(Record({"n": serial, "kind": "polygon"})))
    with pytest.raises(InputError, match="'polygon': a newer brushwork"):
        Project.open(project.folder)
    assert not (project.folder / "lock").exists()


@pytest.mark.parametrize("kind", [*CHANGES, None, 3])
def test_a_change_that_lacks_its_facts_is_an_error_in_words(kind):
    with pytest.raises(InputError, match=r"cannot be understood|unknown kind"):
        applied(Document(), Record({"kind": kind}))


def test_a_lost_journal_is_said_not_replaced_by_an_empty_one(project):
    project.close()
    (project.folder / "strokes.log").unlink()
    with pytest.raises(InputError, match=r"lost its strokes\.log"):
        Project.open(project.folder)
    assert not (project.folder / "strokes.log").exists()


def test_where_the_journal_begins_with_damage_the_summary_is_kept_too(project):
    project.close()
    log = project.folder / "strokes.log"
    log.write_bytes(b"\0" + log.read_bytes()[1:])
    with Project.open(project.folder) as again:
        assert any("project.json.damaged-1" in note for note in again.notes)
        assert not again.document.images
    assert "cells.npy" in (project.folder / "project.json.damaged-1").read_text()


def test_a_project_that_was_not_closed_says_what_is_here(project, image):
    project.paint("cells", image, 1, line(0))
    project.close()
    (project.folder / "lock").write_text("")
    os.utime(project.folder / "lock", (0, 0))
    with Project.open(project.folder) as again:
        assert "not closed" in again.notes[0]
        assert "1 strokes" in again.notes[0]


# ---------------------------------------------------------------- full disks and kills

FULL_DISK = """
import resource, signal, sys
import numpy as np
from brushwork.errors import RunError
from brushwork.project import Project

told = []
project = Project.open(sys.argv[1], failed=told.append)
image = project.document.images[0].id
size = (project.folder / "strokes.log").stat().st_size
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 400, hard))
rng = np.random.default_rng(0)
for i in range(10):
    project.paint("cells", image, 1, rng.integers(0, 60, (20, 2)))
for attempt in (project.flush, project.close):
    try:
        attempt()
    except RunError as error:
        print(error)
assert len(told) == 1 and project.unsaved, (told, project.unsaved)
assert len(project.document.task().strokes) == 10
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
project.close()
"""


def test_on_a_full_disk_strokes_stay_in_memory_and_are_saved_later(project, image):
    project.close()
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(project.folder)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("kept in memory") == 2
    with Project.open(project.folder) as again:
        assert len(again.document.task().strokes) == 10
        assert not again.notes


PAINTER = """
import sys, time
import numpy as np
from brushwork.project import Project

project = Project.open(sys.argv[1])
image = project.document.images[0].id
rng = np.random.default_rng(int(sys.argv[2]))
print("ready", flush=True)
while True:
    stroke = project.paint("cells", image, 1 + int(rng.integers(2)), rng.integers(0, 60, (30, 2)))
    if rng.random() < 0.5:
        project._ledger._journal.flush()
        print(stroke.id, flush=True)
    elif rng.random() < 0.1:
        project.snapshot()
        print(stroke.id, flush=True)
"""


def test_killed_at_any_moment_no_saved_stroke_is_lost(project, image, picture):
    project.close()
    moments, n_before = random.Random(7), 0
    for seed in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", PAINTER, str(project.folder), str(seed)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "ready\n"
        try:
            child.communicate(timeout=moments.uniform(0.01, 0.25))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
        said = [int(word) for word in child.communicate()[0].split("\n")[:-1]]
        with Project.open(project.folder) as again:
            ids = [s.id for s in again.document.task().strokes]
            assert ids == list(range(1, len(ids) + 1))
            assert len(ids) >= max([n_before, *said])
            assert any("not closed" in note for note in again.notes)
            n_before = len(ids)
    assert n_before > 10


# ---------------------------------------------------------------- strokes


def test_later_strokes_lie_on_top_and_erasing_removes(project, image):
    project.paint("cells", image, 1, line(0, n=6))
    project.paint("cells", image, 2, line(0, x=2, n=2))
    project.paint("cells", image, 0, line(0, x=5, n=3))
    labels = project.labels("cells", image)
    assert labels.classes.tolist() == [1, 1, 2, 2, 1]
    assert labels.strokes.tolist() == [1, 1, 2, 2, 1]
    assert labels.coords[:, 1].tolist() == [0, 1, 2, 3, 4]


def test_a_pixel_is_for_training_or_for_checking_never_both(project, image):
    project.paint("cells", image, 1, line(0, n=6))
    project.paint("cells", image, 2, line(0, x=4, n=4), check=True)
    project.paint("cells", image, 0, line(0, x=7, n=1))
    assert project.labels("cells", image).coords[:, 1].tolist() == [0, 1, 2, 3]
    assert project.labels("cells", image, check=True).coords[:, 1].tolist() == [4, 5, 6]
    examples, names, _ = project.training("cells")
    assert names == ("background",)
    assert len(examples[0][1]) == 4


@pytest.mark.parametrize(
    ("coords", "why"),
    [
        ([], "type float64"),
        (np.zeros((0, 2), int), "without pixels"),
        ([[0.5, 1]], "whole numbers"),
        ([[0, 0, 0]], "one column per axis"),
        ([[60, 0]], "leaves its image"),
        ([[0, -1]], "leaves its image"),
    ],
)
def test_strokes_that_make_no_sense_are_refused(project, image, coords, why):
    with pytest.raises(InputError, match=why):
        project.paint("cells", image, 1, coords)
    assert not project.document.task().strokes


def test_strokes_need_a_task_an_image_a_class_and_an_origin_that_exist(project, image):
    for wrong in (("other", image, 1), ("cells", "other", 1), ("cells", image, 3)):
        with pytest.raises(InputError, match="known"):
            project.paint(*wrong, line(0))
    with pytest.raises(InputError, match="known: brush, eraser"):
        project.paint("cells", image, 1, line(0), origin="pencil")
    assert not project.document.task().strokes


def test_erasing_removes_what_was_composed_before(project, image):
    project.paint("cells", image, 1, line(0))
    project.labels("cells", image)
    project.paint("cells", image, 0, line(0, x=3))
    assert project.labels("cells", image).coords[:, 1].tolist() == [0, 1, 2]


def test_a_program_that_ends_without_closing_leaves_nothing_behind(project, image):
    project.close()
    code = f"""
from brushwork.project import Project
project = Project.open({str(project.folder)!r})
project.paint("cells", project.document.images[0].id, 1, [[3, 4]])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not ran.stderr
    assert not (project.folder / "lock").exists()
    with Project.open(project.folder) as again:
        assert len(again.labels("cells", image)) == 1


def test_undo_and_redo_survive_closing(project, image):
    for y in range(3):
        project.paint("cells", image, 1, line(y))
    assert project.undo("cells", image).id == 3
    assert project.undo("cells", image).id == 2
    project.close()
    with Project.open(project.folder) as again:
        assert again.redo("cells", image).id == 2
        assert again.redo("cells", image).id == 3
        assert again.redo("cells", image) is None
        assert len(again.labels("cells", image)) == 15


def test_a_new_stroke_forgets_what_could_be_redone_on_its_image_only(project, image, tmp_path):
    other = project.add_image(saved(tmp_path / "other.npy", two_tone(SHAPE, seed=1)[0])).id
    project.add_task("second")
    project.add_class("second", "a")
    for task, place in (("cells", image), ("cells", other), ("second", image)):
        project.paint(task, place, 1, line(0))
        project.undo(task, place)
    project.paint("cells", image, 1, line(5))
    assert project.redo("cells", image) is None
    assert project.redo("cells", other) is not None
    assert project.redo("second", image) is not None


def test_undo_of_nothing_is_nothing(project, image):
    before = project.document
    assert project.undo("cells", image) is None
    assert project.redo("cells", image) is None
    assert project.document is before


def test_strokes_carry_frames_where_the_image_has_time(tmp_path, project):
    movie = saved(tmp_path / "movie.npy", np.random.default_rng(0).random((4, 30, 40), np.float32))
    with Project.create(tmp_path / "movie.brushwork") as made:
        entry = made.add_image(movie, axes="tyx")
        made.add_task("t")
        made.add_class("t", "a")
        made.add_class("t", "b")
        made.paint("t", entry.id, 1, [[3, 0, 0], [0, 29, 39]])
        made.paint("t", entry.id, 2, [[1, 9, 9], [3, 9, 9]])
        labels = made.labels("t", entry.id)
        assert labels.has_time
        assert labels.frames.tolist() == [0, 1, 3, 3]
        assert made.train("t").classes == ("a", "b")
        with pytest.raises(InputError, match="one column per axis"):
            made.paint("t", entry.id, 1, [[0, 0]])


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 69), st.integers(0, 89)), min_size=1, max_size=60))
def test_pixels_come_back_from_their_bytes(points):
    extent = (3, 70, 90)
    coords = np.unique(np.array(points), axis=0)
    told, payload = packed(coords, extent)
    np.testing.assert_array_equal(unpacked(json.loads(json.dumps(told)), payload), coords)


def test_pixels_far_apart_come_back_from_their_bytes():
    extent = (1 << 20, 1 << 20, 1 << 20)
    coords = np.array([[0, 0, 5], [7, 1 << 19, 3], [(1 << 20) - 1] * 3])
    told, payload = packed(coords, extent)
    assert told["width"] == 8
    np.testing.assert_array_equal(unpacked(told, payload), coords)


@pytest.mark.parametrize("wrong", [{"pixels": 4}, {"pixels": 2}, {"width": 8}, {"extent": [1, 1]}, {"width": 3}])
def test_bytes_that_are_no_pixels_are_refused(wrong):
    told, payload = packed(line(1, n=3), SHAPE)
    with pytest.raises(InputError, match="cannot be read"):
        unpacked(told | wrong, payload)
    with pytest.raises(InputError, match="cannot be read"):
        unpacked(told, b"no zlib")


def test_the_bytes_of_a_stroke_are_read_forever():
    """A sample of the format."""
    told, payload = {"extent": [60, 80], "pixels": 3, "width": 4}, bytes.fromhex("78010b6260606004625f200600052000a1")
    np.testing.assert_array_equal(unpacked(told, payload), [[1, 2], [1, 3], [2, 0]])
    assert zlib.decompress(payload) == b"".join(n.to_bytes(4, "little") for n in (82, 1, 77))


# ---------------------------------------------------------------- laws over any sequence of changes

moves = st.lists(
    st.one_of(
        st.tuples(
            st.just("paint"),
            st.integers(0, 3),
            st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=8),
            st.booleans(),
        ),
        st.tuples(st.sampled_from(["undo", "redo", "reopen", "snapshot", "labels"])),
        st.tuples(st.just("delete"), st.integers(1, 3)),
        st.tuples(st.just("merge"), st.integers(1, 3), st.integers(1, 3)),
    ),
    min_size=8,
    max_size=25,
)


class Paper:
    """What a project should be, painted on dense arrays."""

    def __init__(self):
        self.strokes, self.redoable, self.gone = [], [], set()

    def do(self, move):
        kind, *what = move
        if kind == "paint":
            self.strokes.append(what)
            self.redoable = []
        elif kind == "undo":
            last = next((s for s in reversed(self.strokes) if s[0] not in self.gone), None)
            if last is not None:
                at = max(i for i, s in enumerate(self.strokes) if s is last)
                self.redoable.append((at, self.strokes.pop(at)))
        elif kind == "redo":
            found = [k for k, (_, s) in enumerate(self.redoable) if s[0] not in self.gone]
            if found:
                at, stroke = self.redoable.pop(found[-1])
                self.strokes.insert(at, stroke)
        elif kind == "delete":
            self.gone.add(what[0])
        elif kind == "merge":
            self.gone.add(what[0])
            for stroke in [*self.strokes, *(s for _, s in self.redoable)]:
                stroke[0] = what[1] if stroke[0] == what[0] else stroke[0]

    def dense(self, shape):
        classes, checks = np.zeros(shape, int), np.zeros(shape, bool)
        for class_id, coords, check in self.strokes:
            at = tuple(np.array(coords).T)
            classes[at], checks[at] = 0 if class_id in self.gone else class_id, check
        return np.where(checks, 0, classes), np.where(checks, classes, 0)


@settings(max_examples=60)
@given(moves)
def test_any_changes_equal_painting_on_paper_and_survive_closing(tmp_path_factory, moves):
    tmp_path, shape, paper = tmp_path_factory.mktemp("laws"), (6, 8), Paper()
    project = Project.create(tmp_path / "p.brushwork")
    image = project.add_image(saved(tmp_path / "i.npy", np.zeros(shape, np.uint8))).id
    project.add_task("t")
    for name in "abc":
        project.add_class("t", name)
    for move in moves:
        kind, *what = move
        if kind == "paint" and what[0] in paper.gone:
            continue
        if kind in ("delete", "merge") and (paper.gone & set(what) or len(set(what)) < len(what)):
            continue
        paper.do((kind, *what) if kind != "paint" else (kind, what[0], what[1], what[2]))
        if kind == "paint":
            project.paint("t", image, what[0], what[1], check=what[2])
        elif kind in ("undo", "redo"):
            getattr(project, kind)("t", image)
        elif kind == "delete":
            project.delete_class("t", what[0])
        elif kind == "merge":
            project.merge_classes("t", *what)
        elif kind == "snapshot":
            project.snapshot()
        elif kind == "reopen":
            before = project.document
            project.close()
            project = Project.open(project.folder)
            assert facts(project.document) == facts(before)
        train, check = paper.dense(shape)
        if kind != "snapshot":  # so that several strokes are composed at once, too
            np.testing.assert_array_equal(as_array(project.labels("t", image), shape), train)
            np.testing.assert_array_equal(as_array(project.labels("t", image, check=True), shape), check)
    project.close()
    with Project.open(project.folder) as again:
        assert facts(again.document) == facts(project.document)
        np.testing.assert_array_equal(as_array(again.labels("t", image), shape), paper.dense(shape)[0])


@given(moves)
def test_a_document_comes_back_from_its_json(moves):
    document = Document()
    for kind, told in (
        ("image", {"image": dict(id="i", path="i.npy", shape=[6, 8], axes="yx", dtype="uint8", channel_names=["c"])}),
        ("task", {"task": "t"}),
        ("class", {"task": "t", "class": {"id": 1, "name": "a", "color": "#000000"}}),
    ):
        document = applied(document, Record({"kind": kind, **told}))
    for move in moves:
        if move[0] == "paint":
            told, payload = packed(np.unique(np.array(move[2]), axis=0), (6, 8))
            said = dict(
                id=document.next_stroke, image="i", class_id=min(move[1], 1), check=move[3], origin="brush", when=1
            )
            stroke = {**told, **said, "undone": False}
            document = applied(document, Record({"kind": "stroke", "task": "t", "stroke": stroke}, payload))
    told, payload = facts(document)
    assert facts(document_from_json(json.loads(json.dumps(told)), payload)) == (told, payload)


# ---------------------------------------------------------------- classes, tasks


def test_ids_of_classes_are_never_used_again(project, image):
    third = project.add_class("cells", "third")
    project.delete_class("cells", third.id)
    assert project.add_class("cells", "third").id == third.id + 1
    project.merge_classes("cells", third.id + 1, 1)
    assert project.add_class("cells", "third").id == third.id + 2


def test_a_deleted_class_leaves_nothing_painted_where_it_lay_and_keeps_its_strokes(project, image):
    project.paint("cells", image, 1, line(0, n=4))
    project.paint("cells", image, 2, line(0, x=2, n=4))
    project.labels("cells", image)
    project.delete_class("cells", 2)
    assert project.labels("cells", image).coords[:, 1].tolist() == [0, 1]
    assert len(project.document.task().strokes) == 2
    assert project.undo("cells", image).class_id == 1


def test_a_merged_class_becomes_the_other(project, image):
    project.paint("cells", image, 1, line(0))
    project.paint("cells", image, 2, line(1))
    project.labels("cells", image)
    project.merge_classes("cells", 1, 2)
    assert set(project.labels("cells", image).classes.tolist()) == {2}
    assert [c.name for c in project.document.task().classes] == ["nucleus"]
    with pytest.raises(InputError, match="known: 2"):
        project.merge_classes("cells", 1, 2)
    with pytest.raises(InputError, match="into itself"):
        project.merge_classes("cells", 2, 2)


def test_classes_are_changed_and_reordered(project):
    changed = project.change_class("cells", 1, name="glass", color="#123456", visible=False)
    assert (changed.name, changed.color, changed.visible) == ("glass", "#123456", False)
    project.reorder_classes("cells", [2, 1])
    assert [c.name for c in project.document.task().classes] == ["nucleus", "glass"]
    for order in ([1], [1, 1], [1, 2, 3]):
        with pytest.raises(InputError, match="each class once"):
            project.reorder_classes("cells", order)
    with pytest.raises(InputError, match="new and not empty"):
        project.add_class("cells", "glass")
    with pytest.raises(InputError, match="not a colour"):
        project.add_class("cells", "more", "red")
    with pytest.raises(InputError, match="#rrggbb"):
        project.change_class("cells", 1, color="blue")


def test_predictions_have_the_colour_of_the_strokes_or_one_of_their_own(project):
    apart = project.change_class("cells", 1, prediction_color="#00aa00")
    assert project.change_class("cells", 1, color="#123456", name="glass").map_color == apart.map_color == "#00aa00"
    together = project.change_class("cells", 1, color="#AABBCC", prediction_color="#aabbcc")
    assert (together.prediction_color, together.map_color) == (None, "#AABBCC")
    assert project.change_class("cells", 1, color="#000001").map_color == "#000001"
    with pytest.raises(InputError, match="not a colour"):
        project.add_class("cells", "c", prediction_color="green")


def test_models_have_the_colours_of_predictions(project, image):
    paint_truth(project, image)
    project.change_class("cells", 2, prediction_color="#00aa00")
    background, _ = (c.color for c in project.document.task().classes)
    assert project.fit().colors == (background, "#00aa00")


def test_new_classes_get_colours_that_are_free(project):
    colors = [project.add_class("cells", f"class {i}").color for i in range(6)]
    assert len({c.color for c in project.document.task().classes}) == 8
    assert project.add_class("cells", "ninth").color in [*colors, "#0072B2", "#E69F00"]


def test_there_is_room_for_255_classes_and_no_more(project):
    for i in range(253):
        project.add_class("cells", f"class {i}")
    with pytest.raises(InputError, match="at most 255"):
        project.add_class("cells", "one too many")


def test_tasks_are_named_once_and_settings_are_checked(project):
    with pytest.raises(InputError, match="new and not empty"):
        project.add_task("cells")
    for wrong in ({"features": "nonsense"}, {"estimator": "oracle"}, {"priors": "guess"}, {"channels": ["red"]}):
        with pytest.raises(InputError, match=next(iter(wrong.values()))[0]):
            project.change_task("cells", **wrong)
    assert project.change_task("cells", seed=5).seed == 5
    assert project.change_task("cells", channels=["intensity"]).channels == ("intensity",)
    assert project.change_task("cells", channels="all").channels is None


def test_an_empty_task_name_means_the_only_one(project, image):
    assert project.document.task("").name == "cells"
    project.add_task("second")
    with pytest.raises(InputError, match="say which"):
        project.document.task("")


def test_several_tasks_share_the_images(project, image):
    project.add_task("second")
    project.add_class("second", "a")
    project.paint("cells", image, 2, line(0))
    project.paint("second", image, 1, line(0, n=3))
    assert len(project.labels("cells", image)) == 5
    assert len(project.labels("second", image)) == 3


# ---------------------------------------------------------------- training


def test_training_is_what_train_does(project, image, picture):
    painted = paint_truth(project, image)
    model = project.train()
    plain_image = bw.open_image(picture)
    examples, names, colors = project.training()
    plain = bw.train(examples, classes=names)
    region = bw.Region((0, 0), SHAPE)
    block = plain.block(plain_image, region)
    np.testing.assert_array_equal(
        model.predict_block(plain_image, block), plain.predict_block(plain_image, block), strict=True
    )
    np.testing.assert_array_equal(as_array(examples[0][1]), painted)
    assert names == ("background", "nucleus")
    assert colors == ("#0072B2", "#E69F00")
    entry = project.document.task().models[0]
    assert (entry.file, entry.last_stroke, entry.features) == ("models/001.bwm", 8, "all")
    assert entry.accuracy > 0.9
    kept = bw.Classifier.load(project.folder / entry.file)
    np.testing.assert_array_equal(kept.predict_block(plain_image, block), plain.predict_block(plain_image, block))
    assert kept.provenance["task"] == "cells"
    assert project.train() is not None
    assert [m.file for m in project.document.task().models] == ["models/001.bwm", "models/002.bwm"]


def test_classes_are_numbered_in_display_order_and_unpainted_ones_left_out(project, image):
    project.add_class("cells", "never painted")
    project.paint("cells", image, 1, line(0))
    project.paint("cells", image, 2, line(1))
    project.reorder_classes("cells", [3, 2, 1])
    examples, names, _ = project.training()
    assert names == ("nucleus", "background")
    assert as_array(examples[0][1])[0, 0] == 2


def test_training_says_what_is_not_painted_and_keeps_earlier_models(project, image):
    with pytest.raises(InputError, match="nothing is painted"):
        project.train()
    project.paint("cells", image, 2, line(0))
    with pytest.raises(InputError, match="only 'nucleus' is painted"):
        project.train()
    assert not project.document.task().models
    assert not (project.folder / "models").exists()


def test_models_of_two_tasks_do_not_overwrite_each_other(project, image):
    paint_truth(project, image)
    project.train()
    project.add_task("second")
    project.add_class("second", "a")
    project.add_class("second", "b")
    paint_truth(project, image, task="second")
    project.train("second")
    project.train("cells")
    files = [m.file for task in project.document.tasks for m in task.models]
    assert len(set(files)) == 3
    assert all((project.folder / file).is_file() for file in files)


# ---------------------------------------------------------------- images


def test_adding_an_image_twice_finds_it(project, picture, tmp_path):
    before = project.document
    assert project.add_image(picture).id == before.images[0].id
    shutil.copy(picture, tmp_path / "copy.npy")
    assert project.add_image(tmp_path / "copy.npy") == before.images[0]
    assert project.document is before


def test_images_with_little_in_them_are_told_apart(tmp_path, project):
    entries = []
    for i in range(3):
        sparse = np.zeros((200, 200), np.float32)
        sparse[60, 40 + i] = 1  # far from the corners and the middle, which a fingerprint reads
        entries.append(project.add_image(saved(tmp_path / f"sparse{i}.npy", sparse)))
    assert len({e.id for e in entries}) == 3
    for i, entry in enumerate(entries):
        assert project.image(entry.id).read(bw.Region((60, 0), (61, 200)))[0, 0].argmax() == 40 + i


def test_paths_are_relative_unless_asked_otherwise(tmp_path, project):
    inside = saved(tmp_path / "a" / "inside.npy", two_tone(SHAPE, seed=5)[0])
    assert project.add_image(inside).path == "../a/inside.npy"
    full = saved(tmp_path / "full.npy", two_tone(SHAPE, seed=6)[0])
    assert project.add_image(full, absolute=True).path == full.as_posix()
    copied = project.add_image(saved(tmp_path / "c.npy", two_tone(SHAPE, seed=7)[0]), copy=True)
    assert copied.path == "images/c.npy"
    (tmp_path / "c.npy").unlink()
    assert project.image(copied.id).shape == SHAPE


def test_images_that_do_not_go_together_are_refused(tmp_path, project):
    colour = saved(tmp_path / "colour.npy", np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(InputError, match="3 channels"):
        project.add_image(colour, axes="yxc")
    stack = saved(tmp_path / "stack.npy", np.zeros((5, 60, 80), np.uint8))
    with pytest.raises(InputError, match="3D"):
        project.add_image(stack, axes="zyx")
    fine = saved(tmp_path / "fine.npy", two_tone(SHAPE, seed=1)[0])
    project.add_image(fine, pixel_size=(0.5, 0.5))
    with pytest.raises(InputError, match="one pixel size"):
        project.add_image(saved(tmp_path / "coarse.npy", two_tone(SHAPE, seed=2)[0]), pixel_size=(2, 2))
    assert len(project.document.images) == 2


def test_options_of_opening_are_kept(tmp_path):
    stack = saved(tmp_path / "stack.npy", np.random.default_rng(0).random((3, 20, 30), np.float32))
    with Project.create(tmp_path / "p.brushwork") as made:
        entry = made.add_image(stack, axes="cyx", pixel_size=(0.5, 0.5))
    with Project.open(tmp_path / "p.brushwork") as again:
        image = again.image(entry.id)
        assert (image.channel_names, image.pixel_size) == (entry.channel_names, (0.5, 0.5))
        assert len(entry.channel_names) == 3


def test_a_missing_image_says_where_it_was_and_strokes_stay(project, image, picture):
    project.paint("cells", image, 1, line(0))
    project.close()
    picture.unlink()
    with Project.open(project.folder) as again:
        with pytest.raises(ImageMissing, match=r"cells\.npy is not in .* any more") as caught:
            again.image(image)
        assert (caught.value.id, caught.value.path) == (image, str(picture))
        assert len(again.labels("cells", image)) == 5
        again.paint("cells", image, 1, line(1))


def test_another_image_of_the_same_shape_is_refused(project, image, picture):
    project.close()
    np.save(picture, two_tone(SHAPE, seed=9)[0])
    with Project.open(project.folder) as again:
        with pytest.raises(ImageReplaced, match=r"not the image that was painted on.*further image") as caught:
            again.image(image)
        assert caught.value.id == image
        added = again.add_image(picture)
        assert added.id != image
        assert [e.path for e in again.document.images] == ["../cells.npy", "../cells.npy"]


def test_a_folder_that_moves_with_its_images_needs_no_help(tmp_path):
    saved(tmp_path / "old" / "a.npy", two_tone(SHAPE)[0])
    with Project.create(tmp_path / "old" / "p.brushwork") as made:
        entry = made.add_image(tmp_path / "old" / "a.npy")
    (tmp_path / "old").rename(tmp_path / "new")
    with Project.open(tmp_path / "new" / "p.brushwork") as again:
        assert again.image(entry.id).shape == SHAPE


def test_pointing_to_one_moved_image_finds_the_others(tmp_path, project, image, picture):
    places = ["a/one.npy", "a/two.npy", "b/three.npy", "b/c/four.npy"]
    entries = [
        project.add_image(saved(tmp_path / "data" / place, two_tone(SHAPE, seed=i + 1)[0]))
        for i, place in enumerate(places)
    ]
    project.close()
    (tmp_path / "data").rename(tmp_path / "moved")
    np.save(tmp_path / "moved/b/three.npy", two_tone(SHAPE, seed=50)[0])  # another image with the right name
    with Project.open(project.folder) as again:
        with pytest.raises(ImageReplaced):
            again.relink(entries[0].id, tmp_path / "moved/a/two.npy")
        with pytest.raises(InputError, match=r"nowhere\.npy does not exist"):
            again.relink(entries[0].id, tmp_path / "nowhere.npy")
        found = again.relink(entries[0].id, tmp_path / "moved/a/one.npy")
        assert found == [entries[i].id for i in (0, 1, 3)]
        assert again.image(entries[3].id).shape == SHAPE
        assert again.document.image(image).path == "../cells.npy"
        with pytest.raises(ImageMissing):
            again.image(entries[2].id)
    with Project.open(project.folder) as later:
        assert later.image(entries[1].id).shape == SHAPE


def test_a_nickname_is_shown_and_can_be_taken_back(project, image):
    assert project.document.images[0].title == "cells.npy"
    assert project.name_image(image, "day 1").title == "day 1"
    assert project.name_image(image, "").title == "cells.npy"


def test_a_mask_is_of_its_images_size_and_may_be_drawn_on(project, image, tmp_path):
    file = saved(tmp_path / "masks/cells.npy", np.ones(SHAPE, np.uint8))
    with pytest.raises(InputError, match=r"the mask .* is \(59, 80\).*one size"):
        project.mask_image(image, saved(tmp_path / "small.npy", np.ones((59, 80), np.uint8)))
    project.mask_image(image, file)
    mask = project.document.images[0].mask
    assert (mask.path, project.place(mask.id)) == ("../masks/cells.npy", str(file))
    project.close()
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[3, 4] = 2
    np.save(file, drawn)
    with Project.open(project.folder) as again:
        np.testing.assert_array_equal(again.image(mask.id).source[:], drawn)
    np.save(file, drawn[:-1])
    with Project.open(project.folder) as again:
        with pytest.raises(ImageReplaced, match="not the mask that was given: its size differs"):
            again.image(mask.id)
        again.expect_mask(image, None)
        assert again.document.images[0].mask is None


def test_masks_are_found_again_with_their_images(tmp_path, project):
    """A mask that is called as its image is lies where it lay to it, or nowhere."""
    (tmp_path / "old").mkdir()
    for name in "ab":
        entry = project.add_image(saved(tmp_path / f"old/{name}.npy", two_tone(SHAPE, seed=ord(name))[0]))
        project.mask_image(entry.id, saved(tmp_path / f"old/masks/{name}.npy", np.full(SHAPE, ord(name), np.uint8)))
    project.close()
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new/masks/b.npy").rename(tmp_path / "new/masks/other.npy")
    with Project.open(project.folder) as again:
        _, a, b = again.document.images
        with pytest.raises(ImageMissing, match=r"a\.npy is not in .*masks any more.*relink"):
            again.image(a.mask.id)
        assert again.relink(a.id, tmp_path / "new/a.npy") == [a.id, b.id, a.mask.id]
        assert again.image(a.mask.id).source[0, 0] == ord("a")
        with pytest.raises(ImageMissing):
            again.image(b.mask.id)
        assert again.relink(b.mask.id, tmp_path / "new/masks/other.npy") == [b.mask.id]
        assert again.document.images[2].mask.path == "../new/masks/other.npy"


# ---------------------------------------------------------------- history


def test_any_point_of_the_history_can_be_restored_and_left_again(project, image):
    states = []
    for y in range(4):
        project.paint("cells", image, 1, line(y))
        if y == 2:
            project.delete_class("cells", 2)
        states.append((project.snapshot(), as_array(project.labels("cells", image)), project.document))
    project.paint("cells", image, 1, line(50))
    latest = as_array(project.labels("cells", image))
    for point, painted, document in states:
        project.restore(point)
        np.testing.assert_array_equal(as_array(project.labels("cells", image)), painted)
        assert [c.name for c in project.document.task().classes] == [c.name for c in document.task().classes]
        assert project.document.next_stroke == 6
    left = next(p for p in project.history() if p.n_strokes == 5)
    project.restore(left)
    np.testing.assert_array_equal(as_array(project.labels("cells", image)), latest)
    assert project.paint("cells", image, 1, line(51)).id == 6
    project.close()
    with Project.open(project.folder) as again:
        assert len(again.labels("cells", image)) == 30


def test_ids_stay_taken_after_restoring(project, image):
    point = project.snapshot()
    project.add_class("cells", "third")
    project.restore(point)
    assert [c.id for c in project.document.task().classes] == [1, 2]
    assert project.add_class("cells", "third").id == 4


def test_ten_points_are_kept(project, image):
    for y in range(14):
        project.paint("cells", image, 1, line(y))
        project.snapshot()
        project.snapshot()  # nothing new: no further point
    assert len(project.history()) == 10
    assert [p.n_strokes for p in project.history()] == list(range(14, 4, -1))
    assert len(list((project.folder / "snapshots").iterdir())) == 10 + 9


def test_a_damaged_snapshot_is_replaced_by_the_one_before_and_the_changes_since(project, image):
    for y in range(3):
        project.paint("cells", image, 1, line(y))
        project.snapshot()
    project.paint("cells", image, 1, line(7))
    before = project.document
    project.close()
    newest, second = (p.path for p in project.history()[:2])
    for path in (newest, second):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    for _ in range(2):
        with Project.open(project.folder) as again:
            assert facts(again.document) == facts(before)
            notes = again.notes
    assert not notes  # the second time, the damaged files have other names


def test_where_changes_are_lost_the_later_ones_are_set_aside(project, image):
    project.paint("cells", image, 1, line(0))
    kept = project.snapshot()
    project.paint("cells", image, 1, line(1))
    lost = project.snapshot()
    project.paint("cells", image, 1, line(2))
    project.close()
    lost.path.write_bytes(b"")
    project_folder.log_behind(lost).unlink()
    with Project.open(project.folder) as again:
        assert [s.id for s in again.document.task().strokes] == [1]
        assert any("are lost" in note for note in again.notes)
        assert again.document.serial == kept.serial
        again.paint("cells", image, 1, line(3))
    assert (project.folder / "strokes.log.damaged-1").exists()
    with Project.open(project.folder) as later:
        assert [len(s) for s in later.document.task().strokes] == [5, 5]
        assert not later.notes


@pytest.mark.parametrize("step", ["write_point", "forget_old_points", "write_summary"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_making_a_snapshot_nothing_is_lost(tmp_path, project, image, monkeypatch, step, when):
    project.paint("cells", image, 1, line(0))
    project.snapshot()
    project.paint("cells", image, 1, line(1))
    crash, real = tmp_path / "crash.brushwork", getattr(project_folder, step)

    def cut(*given):
        if when == "before":
            crashed_copy(project, crash)
        done = real(*given)
        if when == "after":
            crashed_copy(project, crash)
        return done

    monkeypatch.setattr(ledger_module.files, step, cut)
    project.snapshot()
    monkeypatch.undo()
    with Project.open(crash) as again:
        assert facts(again.document) == facts(project.document)


def test_killed_between_the_two_renames_of_a_snapshot_nothing_is_lost(project, image):
    project.paint("cells", image, 1, line(0))
    point = project.snapshot()
    project.close()
    (project.folder / "strokes.log").unlink()  # moved behind the point, and no new one was made
    with Project.open(project.folder) as again:
        assert again.document.serial == point.serial
        assert len(again.labels("cells", image)) == 5


def test_closing_after_many_changes_makes_a_snapshot(project, image, monkeypatch):
    monkeypatch.setattr(ledger_module, "MANY_RECORDS", 8)
    for y in range(8):
        project.paint("cells", image, 1, line(y))
    project.close()
    assert len(project.history()) == 1
    assert (project.folder / "strokes.log").stat().st_size == 0
    with Project.open(project.folder) as again:
        assert len(again.document.task().strokes) == 8


def test_a_snapshot_on_a_full_disk_is_an_error_and_changes_nothing(project, image, monkeypatch):
    project.paint("cells", image, 1, line(0))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(project_folder, "write_records", full)
        with pytest.raises(RunError, match="disk is full"):
            project.snapshot()
    project.paint("cells", image, 1, line(1))
    project.close()
    with Project.open(project.folder) as again:
        assert len(again.labels("cells", image)) == 10


def test_labels_agree_with_those_of_a_label_image(project, image):
    painted = paint_truth(project, image)
    labels, plain = project.labels("cells", image), from_array(painted)
    np.testing.assert_array_equal(labels.coords, plain.coords)
    np.testing.assert_array_equal(labels.classes, plain.classes)


def test_what_is_handed_out_cannot_be_written_to(project, image):
    stroke = project.paint("cells", image, 1, line(0))
    labels = project.labels("cells", image)
    for array in (stroke.coords, labels.coords, labels.classes, labels.strokes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
