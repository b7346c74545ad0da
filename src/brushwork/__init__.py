"""brushwork: a few brush strokes in, every pixel of every microscopy image classified.

>>> import brushwork as bw                                              # doctest: +SKIP
>>> image = bw.open_image("cells.tif")
>>> labels = bw.open_labels("strokes.tif", image)
>>> model = bw.train([(image, labels)], bw.FeatureSet.preset("all"), classes=["background", "nucleus"])
>>> model.save("nuclei.bwm")
>>> bw.predict(model, bw.open_image("other.tif"), "other_probabilities.ome.zarr")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from brushwork._version import __version__

if TYPE_CHECKING:
    from brushwork.accuracy import Accuracy, assess
    from brushwork.blocks import Block, Region
    from brushwork.classifier import Classifier
    from brushwork.errors import InputError, RunError
    from brushwork.features import Feature, FeatureSet
    from brushwork.foreground import Foreground
    from brushwork.image import Image, as_image
    from brushwork.io import open_image, open_labels
    from brushwork.jobs import predict
    from brushwork.labels import Labels
    from brushwork.objects import Rule
    from brushwork.project import Project
    from brushwork.segmenting import segment
    from brushwork.splitting import Splitting
    from brushwork.training import train

# Loaded when first used: importing brushwork loads neither numba nor a file format.
_HOME = {
    "Accuracy": "accuracy",
    "assess": "accuracy",
    "Block": "blocks",
    "Region": "blocks",
    "Classifier": "classifier",
    "train": "training",
    "InputError": "errors",
    "RunError": "errors",
    "Feature": "features",
    "FeatureSet": "features",
    "Foreground": "foreground",
    "Image": "image",
    "as_image": "image",
    "open_image": "io",
    "open_labels": "io",
    "predict": "jobs",
    "Labels": "labels",
    "Rule": "objects",
    "Project": "project",
    "segment": "segmenting",
    "Splitting": "splitting",
}
__all__ = [
    "Accuracy", "Block", "Classifier", "Feature", "FeatureSet", "Foreground", "Image", "InputError", "Labels", "Project", "Region",
    "Rule", "RunError", "Splitting", "__version__", "as_image", "assess", "open_image", "open_labels", "predict", "segment",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'brushwork' has no attribute {name!r}")
    value = getattr(import_module(f"brushwork.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
