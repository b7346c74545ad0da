"""What is open, painted and shown, without a window."""

import numpy as np
import pytest

from brushwork.blocks import Region, whole
from brushwork.errors import InputError, RunError
from brushwork.labels import from_array
from brushwork.project import ImageMissing, Project
from brushwork.tile_store import SEGMENTATION
from brushwork.workbench import Workbench
from painting import strokes_on, two_tone

SHAPE = (90, 130)


class Bench(Workbench):
    """Remembers what was told, and waits for the session."""

    def __init__(self, project):
        self.topics, self.failures = [], []
        super().__init__(project, changed=lambda c: self.topics.append(c.topic), failed=self.failures.append, threads=2)

    def until(self, holds):
        for _ in range(1200):
            if holds():
                return
            self.wait(0.1)
        raise AssertionError(f"waited in vain; {self.status} {self.failures}")

    def until_ready(self):
        self.until(
            lambda: (s := self.status) is not None
            and s.generation == self.generation
            and s.state == "ready"
            and s.fraction == 1
        )

    def seen(self, region=None):
        return self.tiles.picture(self.image_id, SEGMENTATION, region or whole(self.image.shape))


@pytest.fixture
def bench(tmp_path):
    """Two images, three classes, nothing painted; the first image is in view."""
    project = Project.create(tmp_path / "p.brushwork")
    for seed in (0, 1):
        np.save(tmp_path / f"{seed}.npy", two_tone(SHAPE, seed)[0])
        project.add_image(str(tmp_path / f"{seed}.npy"))
    project.add_task("main")
    project.change_task("main", features="fast")
    for name in ("out", "in", "other"):
        project.add_class("main", name)
    made = Bench(project)
    made.look(whole(SHAPE))
    yield made
    made.close()


TRUTH = two_tone(SHAPE, 0)[1]


def paint(bench, n=4):
    labels = from_array(strokes_on(TRUTH, n=n))
    for s in np.unique(labels.strokes):
        mine = labels.strokes == s
        bench.paint(labels.coords[mine], int(labels.classes[mine][0]))


def test_two_classes_are_predicted_and_one_is_not(bench):
    strokes = strokes_on(TRUTH)
    bench.paint(np.argwhere(strokes == 1), 1)
    assert not bench.seen().any()
    bench.paint(np.argwhere(strokes == 2), 2)
    bench.until_ready()
    assert (bench.seen() == TRUTH).mean() > 0.95
    assert bench.counts()[2] == (40, 1)
    bench.undo()
    bench.until(lambda: not bench.seen().any())
    bench.redo()
    bench.until_ready()
    assert (bench.seen() == TRUTH).mean() > 0.95
    assert not bench.failures


def test_each_image_keeps_its_strokes_and_all_teach_one_model(bench):
    paint(bench)
    bench.until_ready()
    first, model = bench.image_id, bench.model
    bench.step_image(1)
    assert bench.image_id != first
    assert len(bench.labels()) == 0
    bench.look(whole(SHAPE))
    bench.until(lambda: bench.seen().all())
    assert bench.model is model
    bench.step_image(1)
    assert bench.image_id == first
    assert len(bench.labels()) == 80


def test_classes_are_changed_merged_and_deleted(bench):
    paint(bench)
    extra = strokes_on(TRUTH, n=1, seed=9)
    bench.paint(np.argwhere(extra == 2), 3)
    bench.until_ready()
    bench.change_class(3, name="more", color="#123456", visible=False)
    assert [c.name for c in bench.classes] == ["out", "in", "more"]
    bench.reorder_classes([3, 1, 2])
    bench.until_ready()
    assert bench.model.classes == ("more", "out", "in")
    bench.merge_classes(3, 2)
    bench.until_ready()
    assert set(np.unique(bench.seen())) == {1, 2}
    bench.delete_class(2)
    bench.until(lambda: not bench.seen().any())
    assert [c.name for c in bench.classes] == ["out"]


def test_the_prediction_is_taken_over_but_never_over_what_a_hand_painted(bench):
    paint(bench)
    bench.until_ready()
    region = Region((10, 20), (60, 90))
    by_hand, seen = bench.labels(), bench.seen(region)
    taken = bench.accept(region)
    assert {s.origin for s in taken} == {"prediction"}
    dense = np.zeros(SHAPE, np.uint8)
    dense[tuple(bench.labels().coords.T)] = bench.labels().classes
    assert (dense[region.slices] > 0).all()
    np.testing.assert_array_equal(dense[tuple(by_hand.coords.T)], by_hand.classes)
    free = np.ones(SHAPE, bool)
    free[tuple(by_hand.coords.T)] = False
    np.testing.assert_array_equal(dense[region.slices][free[region.slices]], seen[free[region.slices]])


def test_labels_are_imported_with_values_and_place(bench, tmp_path):
    values = np.zeros((20, 30), np.uint8)
    values[2, 3:9], values[15, 3:9], values[18, 3:9] = 7, 200, 9
    np.save(tmp_path / "labels.npy", values)
    with pytest.raises(InputError, match="no class is given for 9, 200"):
        bench.import_labels(str(tmp_path / "labels.npy"), {7: "in"}, offset=(0, 0))
    first, second = (c.name for c in bench.classes[:2])
    done = bench.import_labels(str(tmp_path / "labels.npy"), {7: second, 200: first, 9: None}, offset=(10, 40))
    assert (done.strokes, done.pixels) == (2, 12)
    found = {tuple(c): k for c, k in zip(bench.labels().coords.tolist(), bench.labels().classes.tolist())}
    assert found[12, 43] == bench.classes[1].id
    assert found[25, 43] == bench.classes[0].id
    assert len(found) == 12
    bench.import_labels(str(tmp_path / "labels.npy"), {7: None, 200: None, 9: "new"}, offset=(0, 0))
    assert [c.name for c in bench.classes][-1] == "new"


def test_a_box_limits_what_is_predicted(bench):
    bench.limit_to(Region((0, 0), (30, 40)))
    paint(bench)
    bench.until_ready()
    assert bench.share == 1
    assert bench.seen()[:30, :40].all()
    assert not bench.seen()[64:, 64:].any()
    bench.limit_to(None)
    bench.until(lambda: bench.seen().all())


def test_live_off_waits(bench):
    bench.live = False
    paint(bench)
    assert not bench.seen().any()
    bench.update_once()
    bench.until(lambda: bench.seen().all())
    fresh, pixels = bench.learn().model, bench.image.read(whole(SHAPE))[0]
    np.testing.assert_array_equal(fresh.predict_array(pixels), bench.model.predict_array(pixels))


def test_strokes_for_checking_are_not_learnt(bench):
    paint(bench)
    bench.until_ready()
    before = bench.seen()
    bench.paint(np.argwhere(TRUTH == 1)[:50], 2, check=True)  # wrong on purpose
    bench.until_ready()
    np.testing.assert_array_equal(bench.seen(), before)
    assert len(bench.labels(check=True)) == 50


def test_another_recipe_predicts_anew(bench, monkeypatch):
    paint(bench)
    bench.until_ready()
    model = bench.model
    bench.change_recipe(features="gaussian:1,3.5", seed=4)
    bench.until_ready()
    assert bench.model is not model
    assert bench.model.features.n_maps == 2
    view, maps = bench.map_in_view("gaussian", 1.0)
    assert maps.shape == (1, *view.shape)
    monkeypatch.setattr("brushwork.workbench.MOST_MAPPED", view.size - 1)
    with pytest.raises(InputError, match="zoom in"):
        bench.map_in_view("gaussian", 1.0)


def test_a_missing_image_is_told_and_the_others_stay(bench, tmp_path):
    first = bench.image_id
    (tmp_path / "1.npy").unlink()
    with pytest.raises(InputError, match=r"1\.npy"):
        bench.step_image(1)
    assert bench.image_id == first


def test_agreement_and_the_next_place_are_found_aside(bench):
    paint(bench, n=5)
    bench.paint(np.argwhere(strokes_on(TRUTH, n=1, seed=5) == 2), 2, check=True)
    measured, found = [], []
    bench.measure(measured.append)
    bench.until(lambda: measured)
    assert measured[0].unseen.overall.value > 0.8
    assert measured[0].checks is not None
    bench.find_place(found.append, everywhere=True)
    bench.until(lambda: found)
    assert found[0].image in {e.id for e in bench.project.document.images}
    bench.find_place(found.append, everywhere=False)
    bench.until(lambda: len(found) == 2)
    assert found[1].image == bench.image_id
    assert found[1].reason
    assert not bench.failures


def test_nothing_is_claimed_of_nothing(bench):
    measured = []
    bench.measure(measured.append)
    bench.until(lambda: measured)
    assert measured[0].unseen is None
    bench.find_place(lambda place: None, everywhere=True)
    bench.until(lambda: bench.failures)
    assert "two classes" in str(bench.failures[0])


def test_tasks_have_their_own_classes_strokes_and_model(bench):
    paint(bench)
    bench.until_ready()
    bench.add_task("stain two")
    assert [c.name for c in bench.classes] == ["out", "in"]
    assert len(bench.labels()) == 0
    bench.until(lambda: not bench.seen().any())
    bench.choose_task("main")
    assert len(bench.labels()) == 80
    bench.until(lambda: bench.seen().all())


def test_an_earlier_state_is_gone_back_to_and_the_later_one_is_kept(bench):
    paint(bench)
    point = bench.project.snapshot()
    bench.paint(np.argwhere(TRUTH == 1)[:200], 2)
    later = len(bench.labels())
    bench.restore(point)
    assert len(bench.labels()) == 80 < later
    bench.until_ready()
    newest = bench.project.history()[0]
    bench.restore(newest)
    assert len(bench.labels()) == later


def test_a_smaller_set_of_features_is_suggested(bench):
    paint(bench, n=5)
    found = []
    bench.suggest(lambda task, features: found.append(features))
    bench.until(lambda: found or bench.failures)
    assert not bench.failures
    bench.change_recipe(features=found[0])
    bench.until_ready()
    assert bench.model.features.n_maps >= 1


def test_taking_over_leaves_strokes_for_checking(bench):
    paint(bench)
    bench.paint(np.argwhere(TRUTH == 1)[:50], 1, check=True)
    bench.until_ready()
    bench.accept(whole(SHAPE))
    assert len(bench.labels(check=True)) == 50


def test_without_an_image_in_front_everything_says_so_and_the_first_found_is_shown(bench, tmp_path):
    paint(bench)
    bench.project.close()
    for i in range(2):
        (tmp_path / f"{i}.npy").rename(tmp_path / f"moved{i}.npy")
    again = Bench(Project.open(tmp_path / "p.brushwork"))
    try:
        assert again.image_id == ""
        assert len(again.lost) == 2
        assert again.counts()[1][0] > 0
        again.look(whole(SHAPE))
        for action in (again.undo, again.redo, again.labels, lambda: again.paint(np.zeros((1, 2), int), 1)):
            with pytest.raises(InputError, match="image"):
                action()
        for by in (1, -1):
            with pytest.raises(ImageMissing):
                again.step_image(by)
        again.add_image(str(tmp_path / "moved1.npy"))
        assert again.image_id == again.project.document.images[1].id
        assert again.add_image(str(tmp_path / "moved0.npy")).id == again.image_id, "its strokes are learnt from again"
        assert not again.lost
        again.look(whole(SHAPE))
        again.until_ready()
        assert not again.failures
    finally:
        again.close()


def test_an_image_that_was_put_back_is_shown_and_learnt_from(bench, tmp_path):
    paint(bench)
    bench.project.close()
    file = (tmp_path / "0.npy").rename(tmp_path / "away.npy")
    again = Bench(Project.open(tmp_path / "p.brushwork"))
    try:
        again.look(whole(SHAPE))
        first = again.project.document.images[0].id
        assert again.image_id != first
        file.rename(tmp_path / "0.npy")
        again.show_image(first)
        assert not again.lost
        again.look(whole(SHAPE))
        again.until_ready()
    finally:
        again.close()


def test_a_state_from_before_the_first_image_or_task_is_gone_back_to(tmp_path):
    np.save(tmp_path / "a.npy", two_tone(SHAPE, 0)[0])
    with Project.create(tmp_path / "p.brushwork") as project:
        bare = project.snapshot()
        project.add_image(tmp_path / "a.npy")
        project.add_task("cells")
        project.add_class("cells", "out")
        project.add_class("cells", "in")
    bench = Bench(Project.open(tmp_path / "p.brushwork"))
    try:
        paint(bench)
        bench.look(whole(SHAPE))
        bench.until_ready()
        bench.restore(bare)
        assert (bench.image_id, bench.task_name) == ("", "cells")
        assert [c.name for c in bench.classes] == ["out", "in"]
        bench.until(lambda: bench.model is None)
        bench.restore(bench.project.history()[0])
        assert bench.image_id
        bench.look(whole(SHAPE))
        bench.until_ready()
        assert not bench.failures
    finally:
        bench.close()


def test_a_lost_image_is_left_out_of_everything(bench, tmp_path):
    paint(bench)
    bench.step_image(1)
    strokes = strokes_on(two_tone(SHAPE, 1)[1], n=2)
    for class_id in (1, 2):
        bench.paint(np.argwhere(strokes == class_id), class_id)
    bench.project.close()
    (tmp_path / "0.npy").unlink()
    again = Bench(Project.open(tmp_path / "p.brushwork"))
    try:
        again.look(whole(SHAPE))
        assert len(again.lost) == 1
        again.until_ready()
        found, measured = [], []
        again.find_place(found.append, everywhere=True)
        again.measure(measured.append)
        again.until(lambda: found and measured)
        assert not again.failures
    finally:
        again.close()


def test_an_image_that_cannot_be_read_stays_behind_and_is_passed_over(bench, monkeypatch):
    third = bench.project.add_image(str(two_tone_file(bench.project.folder.parent / "2.npy", 2)))
    first, second = (e.id for e in bench.project.document.images[:2])
    broken = bench.project.image(second)

    read = type(broken).read

    def damaged(image, region):
        if image is broken:
            raise OSError("a strip is damaged")
        return read(image, region)

    monkeypatch.setattr(type(broken), "read", damaged)
    with pytest.raises(RunError, match="cannot be read"):
        bench.show_image(second)
    assert bench.image_id == first
    bench.step_image(1)
    assert bench.image_id == third.id
    bench.step_image(-1)
    assert bench.image_id == first


def two_tone_file(path, seed):
    np.save(path, two_tone(SHAPE, seed)[0])
    return path
