"""How many strokes a quality takes, when they are painted where brushwork proposes, at random, or where a forest is unsure."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from benchmarks.accuracy import DATA, Case
from brushwork import FeatureSet, next_place
from brushwork.blocks import Region
from brushwork.classifier import Classifier
from brushwork.feature_cache import FeatureCache
from brushwork.labels import Labels, from_array, from_coords
from brushwork.next_place import Sample
from brushwork.training import Prepared, fit, prepare, rows_at
sys.path.insert(0, str(DATA / "scripts"))
import kitio  # noqa: E402
