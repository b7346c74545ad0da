"""Fixtures that many tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run; no test asserts a time.
settings.register_profile("brushwork", deadline=None, derandomize=True)
settings.load_profile("brushwork")


def _data_folder() -> Path:
    told = os.environ.get("BRUSHWORK_TEST_DATA")
    return Path(told) if told else Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images; tests that need it are skipped, visibly, where it is absent."""
    folder = _data_folder().resolve()
    if not folder.is_dir():
        pytest.skip(
            f"no test data at {folder}; set BRUSHWORK_TEST_DATA to the folder that holds f_formats/ and the cases"
        )
    return folder
