"""How much is painted per class."""

import numpy as np

from brushwork.document import Task
from brushwork.project import Project


class Counts:
    """Owns what was counted last: to count takes a moment, and is asked for at every change."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._of: tuple[int, str] | None = None  # state of the project, and task
        self._counts: dict[int, tuple[int, int]] = {}

    def of(self, task: Task) -> dict[int, tuple[int, int]]:
        """(pixels, strokes) per class id of a task as it is now, over all images."""
        now = (self._project.document.serial, task.name)
        if now != self._of:
            self._of, self._counts = now, self._count(task)
        return self._counts

    def _count(self, task: Task) -> dict[int, tuple[int, int]]:
        totals = {c.id: (0, 0) for c in task.classes}
        for entry in {s.image for s in task.strokes if not s.undone}:
            labels = self._project.labels(task.name, entry)
            for class_id in np.unique(labels.classes).tolist():
                mine = labels.classes == class_id
                pixels, strokes = totals.get(class_id, (0, 0))
                totals[class_id] = (pixels + int(mine.sum()), strokes + len(np.unique(labels.strokes[mine])))
        return totals
