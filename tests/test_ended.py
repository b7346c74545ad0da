"""Commands that are told to end, or killed, while they write: nothing of them is left for long."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from brushwork.cli import ilastik, main
from brushwork.cli.main import Ended
from brushwork.io import aside
from brushwork.io.aside import written_aside
from brushwork.io.processes import is_alive, machine
from ilp_files import IDS, random_forests, write_ilp

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
BIN = Path(sys.executable).parent
LARGE, SMALL = {"ilastik": (3000, 3000), "convert": (6000, 6000)}, (20, 30)  # large: at work for a second or more


def write_image(folder: Path, shape: tuple[int, int]) -> None:
    np.save(folder / "image.npy", np.random.default_rng(0).integers(0, 200, shape).astype(np.uint16))


def commands(folder: Path) -> dict[str, tuple[list[str], str]]:
    """Command lines by the program, and what they write."""
    chosen = {IDS[0]: (0.3, 1.0), IDS[3]: (10.0,)}
    write_ilp(folder / "p.ilp", chosen=chosen, in_2d=True, forests=random_forests(0, (50, 50), 3, 2, depth=12))
    headless = ["brushwork-ilastik", "--headless", "--project=p.ilp", "image.npy"]
    return {
        "ilastik": (headless, "image_Probabilities.h5"),
        "convert": (["brushwork", "convert", "image.npy", "image.h5"], "image.h5"),
    }


def begun(command: list[str], folder: Path) -> subprocess.Popen:
    """The process, as soon as something lies aside."""
    run = subprocess.Popen([BIN / command[0], *command[1:]], cwd=folder, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):
        if list(folder.glob(".*.partial")):
            return run
        assert run.poll() is None, run.communicate()
        time.sleep(0.005)
    raise AssertionError("nothing was begun")


@pytest.mark.parametrize("program", ["ilastik", "convert"])
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_a_command_that_is_told_to_end_leaves_nothing(tmp_path, program, number):
    command, _ = commands(tmp_path)[program]
    write_image(tmp_path, LARGE[program])
    run = begun(command, tmp_path)
    run.send_signal(getattr(signal, number))
    run.send_signal(getattr(signal, number))
    _, said = run.communicate(timeout=60)
    assert run.returncode == 128 + getattr(signal, number)
    assert f"ended by {number}" in said
    assert "Traceback" not in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.npy", "p.ilp"]


@pytest.mark.parametrize("program", ["ilastik", "convert"])
def test_what_a_killed_command_left_is_removed_by_the_next(tmp_path, program):
    command, out = commands(tmp_path)[program]
    write_image(tmp_path, LARGE[program])
    run = begun(command, tmp_path)
    run.kill()
    run.communicate()
    assert list(tmp_path.glob(".*.partial"))
    assert not (tmp_path / out).exists()
    write_image(tmp_path, SMALL)
    subprocess.run([BIN / command[0], *command[1:]], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["image.npy", out, "p.ilp"])
    with h5py.File(tmp_path / out) as file:
        assert next(iter(file.values())).shape[:2] == SMALL


def test_only_what_dead_processes_of_this_machine_left_is_removed(tmp_path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert not is_alive(done.pid)
    left = [f".a.txt.{machine()}.{done.pid}.partial", f".b.{machine()}.{done.pid}.partial"]
    kept = [
        f".a.txt.{machine()}.{os.getppid()}.partial", f".a.txt.00000000.{done.pid}.partial",
        f"a.txt.{machine()}.{done.pid}.partial", f".a.txt.{done.pid}.partial",
    ]  # fmt: skip
    for name in (*left, *kept):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").touch()
    with written_aside(tmp_path / "a.txt") as path:
        path.write_text("whole")
    assert {p.name for p in tmp_path.iterdir()} == {"a.txt", *kept}


def test_a_folder_that_is_replaced_comes_back_where_that_is_broken_off(tmp_path, monkeypatch):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    rename = Path.rename

    def told_to_end(path, target):
        if path.name == "new":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", told_to_end)
    with pytest.raises(KeyboardInterrupt):
        aside.replace(tmp_path / "new", tmp_path / "old")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "old"]
    assert [p.name for p in (tmp_path / "old").iterdir()] == ["old"]


def test_a_folder_is_looked_through_once(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(aside.os, "scandir", lambda folder: seen.append(folder) or (_ for _ in ()).throw(OSError))
    for name in "abc":
        with written_aside(tmp_path / name) as path:
            path.write_text(name)
    assert seen == [tmp_path]


def test_a_signal_in_the_middle_of_a_destructor_ends_too():
    code = """
import os, signal, time
from brushwork.cli.main import Ended, end_when_told
class Thing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
end_when_told()
try:
    Thing()
    time.sleep(20)
except Ended as ended:
    raise SystemExit(ended.code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (143, "")


@pytest.mark.parametrize("run", [lambda: ilastik.main([]), main.run])
def test_a_signal_that_a_library_made_an_error_of_is_told_as_a_signal(monkeypatch, capsys, run):
    def imported(*_, **__):
        try:
            raise Ended(signal.SIGTERM)
        except Ended as ended:
            raise RuntimeError("Error calling __set_name__") from ended

    monkeypatch.setattr(ilastik, "_parsed", imported)
    monkeypatch.setattr(type(main.app), "__call__", imported)
    monkeypatch.setattr(sys, "argv", ["brushwork"])
    with pytest.raises(SystemExit) as left:
        run()
    assert left.value.code == 143
    assert "ended by SIGTERM" in capsys.readouterr().err
