"""Labels of a box as runs: where in the box a stretch of one label begins along x, how long it is, and the label."""

import numpy as np

from brushwork.kernels.compile import kernel


@kernel
def count_runs(labels):
    """The number of runs of labels other than 0 in (rows, x) int32."""
    n = 0
    for row in range(labels.shape[0]):
        last = np.int32(0)
        for x in range(labels.shape[1]):
            label = labels[row, x]
            if label != last and label != 0:
                n += 1
            last = label
    return n


@kernel
def to_runs(labels, runs):
    """labels : (rows, x) int32.

    runs : (3, count_runs) int32: first pixel in the box, length, label, in the order of the pixels.
    """
    n = -1
    for row in range(labels.shape[0]):
        last = np.int32(0)
        for x in range(labels.shape[1]):
            label = labels[row, x]
            if label != 0:
                if label != last:
                    n += 1
                    runs[0, n], runs[1, n], runs[2, n] = row * labels.shape[1] + x, 0, label
                runs[1, n] += 1
            last = label


@kernel
def from_runs(runs, shape, low, high, names, out, at):
    """Write the part of a box into a larger array: names[label] where a label is whose name is not 0; other pixels stay.

    runs : (3, n) int32 of a box of `shape` (3,). low, high : (3,) the part, in the box. names : by label. out : (z, y, x).
    at : (3,) where
    `low` comes to lie.
    """
    plane = shape[1] * shape[2]
    for i in range(runs.shape[1]):
        name = names[runs[2, i]]
        if name != 0:
            z, rest = divmod(runs[0, i], plane)
            y, x = divmod(rest, shape[2])
            if low[0] <= z < high[0] and low[1] <= y < high[1]:
                for k in range(max(x, low[2]), min(x + runs[1, i], high[2])):
                    out[z - low[0] + at[0], y - low[1] + at[1], k - low[2] + at[2]] = name
