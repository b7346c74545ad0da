"""The folder of an output that is not finished: its plan, its lock, the store that is filled and the tasks that are done."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.io.aside import discard, make_folder, refuse_existing, replace, told
from brushwork.io.layout import Layout
from brushwork.io.locks import locked
from brushwork.io.ome_zarr import OmeZarrStore, Progress
from brushwork.io.writers import check_layout, export, files_of

SUFFIX = ".run"
Plan = dict[str, Any]  # JSON; what has to be the same for a run to be continued


@dataclass(frozen=True, eq=False)
class RunFolder:
    """OUT.run, held by this process. Whatever moment it is killed at, a marker only stands for pixels that are stored."""

    out: Path
    folder: Path
    layout: Layout
    store: OmeZarrStore

    @staticmethod
    @contextmanager
    def held(out: Path, layout: Layout, plan: Plan, overwrite: bool) -> "Iterator[RunFolder]":
        """A new run, or the unfinished one of the same plan; of another plan, with `overwrite`, it is dropped.

        Where what was given turns out not to be computable before a task is done, nothing is left to stand in another's way.

        Raises InputError where `out` exists, cannot be written or cannot hold such an image, where another process is at work
        on it, and where an unfinished run has another plan.
        """
        check_layout(out, layout)
        for file in files_of(out, layout):
            refuse_existing(file, overwrite)
        folder = run_folder_of(out)
        make_folder(folder)
        with locked(folder / "lock", str(out)):
            _settle_plan(folder, json.loads(json.dumps(plan)), overwrite)
            run = RunFolder(out, folder, layout, _store(folder, layout, out))
            try:
                yield run
            except InputError:
                if not any((folder / "done").glob("*")):
                    discard(folder)
                raise

    def is_done(self, task: int) -> bool:
        return (self.folder / "done" / str(task)).exists()

    def keep(self, task: int, region: Region, pixels: NDArray[np.generic]) -> None:
        """Store what a task made; only then is it marked as done."""
        self.store.write(region, pixels)
        with told(self.out):
            (self.folder / "done" / str(task)).touch()

    def finish(self, progress: Progress | None = None) -> Path:
        """Make `out` of the store; returns what was written, of several files the first."""
        if self.out.suffix.lower() == ".zarr":
            self.store.build_pyramid(progress)
            with told(self.out):
                replace(self.store.path, self.out)
            first = self.out
        else:
            first = export(self.store.image(), self.out, self.layout, progress, overwrite=True)[0]
        discard(self.folder)
        return first


def run_folder_of(out: Path) -> Path:
    """The folder of the run that makes an output; it is there as long as that is unfinished."""
    return out.with_name(out.name + SUFFIX)


def unfinished(folder: Path) -> Path | None:
    """The output that is being made in `folder`, None where that is not the folder of a run."""
    is_run = folder.name.endswith(SUFFIX) and (folder / "plan.json").is_file()
    return folder.with_name(folder.name.removesuffix(SUFFIX)) if is_run else None


def _settle_plan(folder: Path, plan: Plan, overwrite: bool) -> None:
    """Write the plan of a new run, or check that an interrupted one is the same."""
    file = folder / "plan.json"
    if file.exists():
        try:
            earlier = json.loads(file.read_text())
            changed = [key for key in plan if earlier.get(key) != plan[key]]
        except (ValueError, AttributeError):
            if not overwrite:
                raise InputError(f"{file} is damaged; delete {folder} or start anew with --overwrite") from None
            changed = ["plan"]
        if not changed:
            return
        if not overwrite:
            raise InputError(
                f"{folder} holds an unfinished run with another {' and '.join(changed)}; "
                "finish that one, or start anew with --overwrite"
            )
    with told(folder):
        discard(folder / "done")
        discard(folder / "data.ome.zarr")
        aside = file.with_suffix(".part")
        aside.write_text(json.dumps(plan, indent=1))
        aside.replace(file)


def _store(folder: Path, layout: Layout, out: Path) -> OmeZarrStore:
    """The store of a run. A new one begins without markers: those of a store that was moved away or never finished are lies."""
    data = folder / "data.ome.zarr"
    if not (data / "zarr.json").exists():
        with told(folder):
            discard(folder / "done")
            discard(data)
    make_folder(folder / "done")
    if (data / "zarr.json").exists():
        return OmeZarrStore.open(data, final=out)
    return OmeZarrStore.create(data, layout, final=out)
