"""The same results, to the last digit but one, on a processor with nothing beyond the basic instructions."""

import os
import subprocess
import sys

import numpy as np
import pytest

from brushwork.blocks import whole
from brushwork.training import train
from painting import example

PROGRAM = """
import sys
import numpy as np
import brushwork as bw
from brushwork.blocks import whole
from brushwork.kernels.bytes64 import fast_path
assert not fast_path()
folder = sys.argv[1]
model = bw.Classifier.load(folder + "/m.bwm")
image = bw.as_image(np.load(folder + "/image.npy"))
np.save(folder + "/maps.npy", model.features.at(image, model.block(image, whole(image.shape))))
np.save(folder + "/probabilities.npy", model.predict_array(image.source))
"""
BASIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "BRUSHWORK_PLAIN_KERNELS": "1"}


@pytest.mark.parametrize(
    ("shape", "features"), [((120, 150), "gaussian:0.3 *:0.7,3.5"), ((16, 30, 40), "gaussian:0.3 *:1")]
)
def test_basic_instructions_give_the_same_answers(tmp_path, shape, features):
    image, labels, _ = example(shape)
    model = train([(image, labels)], features)
    model.save(tmp_path / "m.bwm")
    np.save(tmp_path / "image.npy", image.source)
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, env={**os.environ, **BASIC}, timeout=300)
    maps = model.features.at(image, model.block(image, whole(image.shape)))
    difference = np.abs(np.load(tmp_path / "maps.npy") - maps).reshape(len(maps), -1).max(1)
    magnitude = float(np.abs(image.source).max())
    powers = [2 if name.startswith("structure-tensor") else 1 for name in model.features.names]
    assert (difference <= 1e-5 * magnitude ** np.array(powers)).all()
    theirs, ours = np.load(tmp_path / "probabilities.npy"), model.predict_array(image.source)
    assert (theirs.argmax(0) == ours.argmax(0)).mean() >= 0.9999
