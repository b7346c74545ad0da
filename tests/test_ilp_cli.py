"""ilastik's projects on the command line: what is in one, and predictions straight from it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from brushwork.interchange.ilp import open_ilp
from brushwork.interchange.ilp_models import classifier_of
from test_ilp import PIXELS, project_file

COMMAND = str(Path(sys.executable).parent / "brushwork")


def brushwork(*arguments):
    """(exit code, what it said)."""
    usual = os.environ | {"COLUMNS": "200"}
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, env=usual)
    return done.returncode, done.stdout + done.stderr


def test_info_says_what_a_project_holds(tmp_path):
    code, out = brushwork("info", project_file(tmp_path))
    assert code == 0
    for said in ("1.4.0", "image  yx (20, 30)  found", "in (#ff0007) 2 px", "sigma 0.3/2d, 1/2d", "5 trees, 4 maps"):
        assert said in out


def test_info_says_what_is_not_there(tmp_path):
    path = project_file(tmp_path, forests=None)
    (tmp_path / "image.npy").unlink()
    code, out = brushwork("info", path)
    assert code == 0
    assert "not found: image.npy" in out
    assert "not trained" in out


def test_predicting_from_a_project_gives_what_its_forest_gives(tmp_path):
    path = project_file(tmp_path)
    out = tmp_path / "out"
    asked = ("predict", path, tmp_path / "image.npy", "-o", out, "--as", "npy", "--dtype", "float32")
    assert brushwork(*asked)[0] == 0
    expected = classifier_of(open_ilp(path)).predict_array(PIXELS)
    np.testing.assert_array_equal(np.load(out / "image_probabilities.npy"), expected)
    assert "done before" in brushwork(*asked)[1]


def test_a_project_without_a_forest_cannot_predict_and_says_what_can(tmp_path):
    code, out = brushwork("predict", project_file(tmp_path, forests=None), tmp_path / "image.npy", "-o", tmp_path)
    assert code == 2
    assert "train one on its labels" in out


def test_a_project_goes_there_and_back(tmp_path):
    path = project_file(tmp_path)
    code, out = brushwork("import", path, "-o", tmp_path / "mine.brushwork")
    assert (code, f"{tmp_path / 'mine.brushwork'}: 1 of 1 images" in out) == (0, True)
    code, out = brushwork("predict", tmp_path / "mine.brushwork", tmp_path / "image.npy", "-o", tmp_path / "out.npy")
    assert (code, f"with the forest of {path.name}" in out) == (0, True)
    code, out = brushwork("export", tmp_path / "mine.brushwork", "-o", tmp_path / "back.ilp", "--embed")
    assert (code, "1 images" in out, "a forest of 5 trees" in out) == (0, True, True)
    before, after = open_ilp(path), open_ilp(tmp_path / "back.ilp")
    assert after.lanes[0].raw.location == "embedded"
    assert after.stages[0].counts == before.stages[0].counts
    assert brushwork("export", tmp_path / "mine.brushwork", "-o", tmp_path / "back.ilp")[0] == 2


def test_what_does_not_go_together_is_refused(tmp_path):
    path = project_file(tmp_path)
    code, out = brushwork("import", path, "--into", tmp_path / "mine.brushwork")
    assert (code, "a project of its own" in out) == (2, True)
    code, out = brushwork("import", tmp_path / "image.npy")
    assert (code, "give --into" in out) == (2, True)
    assert brushwork("import", path)[0] == 0
    code, out = brushwork("export", path.with_suffix(".brushwork"), "-o", tmp_path / "b.ilp", "--embed", "--absolute")
    assert (code, "leave one out" in out) == (2, True)


def test_how_an_old_structure_tensor_was_computed_can_be_said(tmp_path):
    path = project_file(tmp_path)
    said = {}
    for dialect in ("ilastik<1.3", "ilastik>=1.3"):
        out = tmp_path / f"{len(said)}.npy"
        asked = ("predict", path, tmp_path / "image.npy", "-o", out, "--dtype", "float32", "--dialect", dialect)
        assert brushwork(*asked)[0] == 0
        said[dialect] = np.load(out)
    np.testing.assert_array_equal(said["ilastik>=1.3"], classifier_of(open_ilp(path)).predict_array(PIXELS))
    assert (said["ilastik<1.3"] != said["ilastik>=1.3"]).any()
    code, out = brushwork("predict", path, tmp_path / "image.npy", "-o", tmp_path / "x.npy", "--dialect", "old")
    assert code == 2
    assert "ilastik<1.3" in out
