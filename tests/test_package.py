"""The package as others meet it."""

import subprocess
import sys

import pytest

import brushwork


def loaded_by(code):
    """The modules that a fresh interpreter has loaded after running `code`."""
    program = f"import sys\n{code}\nprint(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


HEAVY = {"numba", "tensorstore", "h5py", "tifffile", "PIL", "scipy", "sklearn", "numpy"}


def test_importing_loads_nothing_heavy():
    assert not HEAVY & loaded_by("import brushwork")


def test_the_commands_help_loads_nothing_heavy():
    code = (
        "from brushwork.cli import main\nsys.argv = ['brushwork', '--help']\ntry: main.run()\nexcept SystemExit: pass"
    )
    assert not HEAVY & loaded_by(code)


def test_the_public_surface_is_complete():
    for name in brushwork.__all__:
        assert getattr(brushwork, name) is not None
    assert set(dir(brushwork)) == set(brushwork.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = brushwork.nothing


def test_the_version_is_said_once():
    from importlib.metadata import version

    assert version("brushwork") == brushwork.__version__
