"""Painting that is killed at random moments: what was saved is there, and nothing that was never painted."""

import os
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest

from brushwork.document import document_to_json
from brushwork.project import Project
from painting import two_tone

ROUNDS = 47
SHAPE = (60, 80)

# A process that forks: each child paints in the project until it is killed. Random changes are the same for the same seed.
PAINTERS = """
import os, signal, sys, time
import numpy as np
from brushwork.project import Project

def changes(project, seed):
    rng = np.random.default_rng(seed)
    image = project.document.images[0].id
    while True:
        what = rng.random()
        if what < 0.75:
            n = int(rng.integers(1, 400))
            coords = rng.integers(0, (60, 80), (n, 2))
            project.paint("cells", image, int(rng.integers(0, 3)), coords, check=bool(rng.random() < 0.1))
        elif what < 0.9:
            project.undo("cells", image)
        elif what < 0.97:
            project.redo("cells", image)
        else:
            project.change_class("cells", 2, name=f"name {rng.integers(1000)}")
        yield rng.random()

def paint(folder, seed, said):
    project = Project.open(folder)
    os.write(said, b"ready")
    side = open(sys.argv[2], "w", buffering=1)
    for chance in changes(project, seed):
        os.write(said, b".")
        if chance < 0.3:
            if chance < 0.03:
                project.snapshot()
            else:
                project.flush()
            side.write(f"{project.document.serial}\\n")

if __name__ == "__main__":
    for line in sys.stdin:
        seed, n_changes, milliseconds = line.split()
        heard, said = os.pipe()
        child = os.fork()
        if not child:
            paint(sys.argv[1], int(seed), said)
        assert os.read(heard, 5) == b"ready"
        n_left = int(n_changes)
        while n_left > 0:
            n_left -= len(os.read(heard, n_left))
        time.sleep(float(milliseconds) / 1000)
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        os.close(heard), os.close(said)
        print("killed", flush=True)
"""


def facts(document):
    """All of a document but the times, which differ between two who do the same."""

    def timeless(value):
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if k != "when"}
        return [timeless(v) for v in value] if isinstance(value, list) else value

    told, payload = document_to_json(document)
    return timeless(told), payload


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_killed_at_47_moments_a_project_is_what_was_painted(tmp_path):
    np.save(tmp_path / "cells.npy", two_tone(SHAPE)[0])
    with Project.create(tmp_path / "cells.brushwork") as made:
        made.add_image(tmp_path / "cells.npy")
        made.add_task("cells")
        made.add_class("cells", "background")
        made.add_class("cells", "nucleus")
    folder = shutil.copytree(made.folder, tmp_path / "twin.brushwork")
    script, side = tmp_path / "painters.py", tmp_path / "side"
    script.write_text(PAINTERS)
    changes = {"__name__": "painters"}
    exec(PAINTERS, changes)
    command = [sys.executable, str(script), str(made.folder), str(side)]
    moments, n_before = random.Random(11), 0
    with (
        Project.open(folder) as twin,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as painters,
    ):
        for seed in range(ROUNDS):
            side.unlink(missing_ok=True)
            painters.stdin.write(f"{seed} {moments.randint(0, 30)} {moments.uniform(0, 30)}\n")
            painters.stdin.flush()
            assert painters.stdout.readline() == "killed\n"
            whole_lines = side.read_text().split("\n")[:-1] if side.exists() else []
            with Project.open(made.folder) as again:
                assert not again.read_only
                assert again.document.serial >= max([n_before, *map(int, whole_lines)]), "what was saved is there"
                steps = changes["changes"](twin, seed)
                while twin.document.serial < again.document.serial:
                    next(steps)
                assert facts(again.document) == facts(twin.document)
                n_before = again.document.serial
        painters.stdin.close()
    assert len(again.document.task("cells").strokes) > ROUNDS
