"""Which images of a project can be opened now, and why the others cannot."""

from brushwork.document import Task
from brushwork.errors import InputError, RunError
from brushwork.image import Image
from brushwork.labels import Labels
from brushwork.project import Project


class AtHand:
    """Owns `lost`: why images could not be opened, by id. They are left out of everything until they are tried again."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.lost: dict[str, InputError | RunError] = {}

    def image(self, entry_id: str) -> Image | None:
        """An image, or None where it cannot be opened, now or when it was tried last."""
        if entry_id in self.lost:
            return None
        try:
            return self._project.image(entry_id)
        except (InputError, RunError) as error:
            self.lost[entry_id] = error
            return None

    def images(self, ids: list[str]) -> dict[str, Image]:
        """Those of these images that can be opened."""
        return {i: image for i in ids if (image := self.image(i)) is not None}

    def painted(self, task: Task) -> list[str]:
        """Ids of the images with strokes of a task, in the order of the project, lost ones too."""
        painted = {s.image for s in task.strokes if not s.undone}
        return [entry.id for entry in self._project.document.images if entry.id in painted]

    def examples(self, task: Task, *, check: bool = False) -> dict[str, tuple[Image, Labels]]:
        """The images that have strokes, with their labels: to learn from, or to check with."""
        examples = {}
        for entry_id in self.painted(task):
            labels = self._project.labels(task.name, entry_id, check=check)
            image = self.image(entry_id) if len(labels) else None
            if image is not None:
                examples[entry_id] = (image, labels)
        return examples
