"""Files that once hung, or filled the memory, or were told as defects: now one sentence says what is wrong with them.

corpus/NAME.SUFFIX.gz is a file, corpus/NAME.brushwork.zip a project. Most were found by long/fuzz.py, in files that tests write.
"""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.*"))
MINUTES = 10
SET_ASIDE = (
    "project-header-that-is-a-list",
    "project-point-without-a-number",
)  # what is damaged in them; the rest opens

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are set and watched as Linux does")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, dict]:
    """How it ended for each file of the corpus, by its name there."""
    folder = tmp_path_factory.mktemp("corpus")
    paths = [unpacked(packed, folder) for packed in CORPUS]
    script = Path(__file__).with_name("hostile.py")
    done = subprocess.run(
        [sys.executable, script, *paths],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60 * MINUTES,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    return dict(zip((packed.name for packed in CORPUS), map(json.loads, done.stdout.splitlines()), strict=True))


def unpacked(packed: Path, folder: Path) -> Path:
    path = folder / packed.stem
    if packed.suffix == ".zip":
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(path)
    else:
        path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


@pytest.mark.parametrize("name", [packed.name for packed in CORPUS])
def test_what_once_did_harm_is_refused_with_one_sentence(outcomes, name):
    outcome = outcomes[name]
    if name.startswith(SET_ASIDE):
        assert outcome["kind"] == "opened", outcome
        return
    assert outcome["kind"] == "refused", outcome
    assert outcome["told"]
    assert "\n" not in outcome["told"]
