"""brushwork ilastik, brushwork-ilastik: ilastik's headless mode with its own flags, so that a script changes one word."""

import argparse
import ast
import configparser
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from brushwork._version import __version__
from brushwork.cli.main import INTERRUPTED, Ended, app, end_when_told, ended_in
from brushwork.errors import InputError

if TYPE_CHECKING:
    from brushwork.image import Image
    from brushwork.interchange.headless import Export, Plan
    from brushwork.interchange.headless_inputs import Reading
    from brushwork.interchange.headless_results import Lessons, Stage
    from brushwork.interchange.ilp import IlpProject

    StagesFor = Callable[[Image], tuple[Stage, ...]]

log = logging.getLogger("brushwork.ilastik")
log.addHandler(logging.NullHandler())  # without one, errors would be shown twice
QUOTED = re.compile(
    r"""(--[\w-]+=|)(["'])(.*)\2""", re.DOTALL
)  # as a list of arguments for a shell that is not there has them
YES_OR_NO = ("1", "0", "true", "false", "yes", "no", "y", "n", "t", "f", "on", "off", "readonly")
LEAST_RAM_MB = 500
OWN_RAM_MB = 300  # the program itself, and what is being written
NO_NETWORKS = "it is for neural networks, which are not run here"
OTHER_WORKFLOW = "it belongs to another workflow than pixel classification and autocontext"
NOT_SPREAD = "a result is computed in threads of one process; brushwork predict resumes what was interrupted"
REFUSED = {
    "new_project": "projects are not made here; brushwork export writes one that ilastik opens",
    "workflow": "projects are not made here; brushwork export writes one that ilastik opens",
    "fullscreen": "ilastik refuses it together with --headless, too",
    "exit_on_failure": "ilastik refuses it together with --headless, too",
    "hbp": NO_NETWORKS,
    "tiktorch_executable": NO_NETWORKS,
    "nn_device": NO_NETWORKS,
    "distributed": NOT_SPREAD,
    "distributed_block_roi": NOT_SPREAD,
    "generate_random_labels": "it writes into the project, which is never changed here",
    "random_label_value": "it writes into the project, which is never changed here",
    "random_label_count": "it writes into the project, which is never changed here",
    "table_only": OTHER_WORKFLOW,
    "table_filename": OTHER_WORKFLOW,
    "segmentation_image": OTHER_WORKFLOW,
    "prediction_maps": OTHER_WORKFLOW,
    "binary_image": OTHER_WORKFLOW,
    "probabilities": OTHER_WORKFLOW,
    "superpixels": OTHER_WORKFLOW,
    "export_plugin": OTHER_WORKFLOW,
    "csv_export_file": OTHER_WORKFLOW,
}


@app.command(
    "ilastik",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
def ilastik(context: typer.Context) -> None:
    """ilastik's headless mode: the flags of ilastik --headless, its outputs and their names, without ilastik."""
    main(context.args)


def run() -> None:
    """Entry point of brushwork-ilastik."""
    end_when_told()
    main([a for a in sys.argv[1:] if a != "--debug"])


def main(arguments: Sequence[str]) -> NoReturn:
    """Exits as ilastik does: 0, 1 for what failed, 2 for arguments that are not understood."""
    try:
        _work(_parsed(arguments))
    except _Usage as error:
        _leave(f"{error} (brushwork ilastik --help)", 2)
    except KeyboardInterrupt:
        _leave("interrupted; nothing that looks complete is left", INTERRUPTED)
    except (Ended, Exception) as error:
        if ended := ended_in(error):
            _leave(f"{ended}; nothing that looks complete is left", ended.code)
        if "--debug" in sys.argv:
            traceback.print_exc()
        known = isinstance(error, InputError | RuntimeError | MemoryError)
        _leave(
            str(error) or "there is not enough memory"
            if known
            else f"{type(error).__name__}: {error} (this is a defect)",
            1,
        )
    sys.stdout.flush()
    sys.exit(0)


def _leave(message: str, code: int) -> NoReturn:
    log.error(message)
    print(f"brushwork ilastik: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def _tell(message: str) -> None:
    log.info(message)
    print(message, flush=True)


# ---------------------------------------------------------------- arguments


class _Usage(Exception):
    """Arguments that are not understood."""


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving, so that there is one way out."""

    def error(self, message: str) -> NoReturn:
        raise _Usage(message)


def _spellings(name: str) -> list[str]:
    return list(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "brushwork ilastik",
        description="Predict images with an ilastik project as ilastik --headless does. docs/ilastik.md tells what differs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name: str, help: str, **more: Any) -> None:
        parser.add_argument(*_spellings(name), help=help, **more)

    add("headless", "Needed: there is no window here.", action="store_true")
    add("project", "The ilastik project, NAME.ilp.")
    add("readonly", "Accepted; projects are never changed here.", nargs="?", const="true", default="true")
    add("clean_paths", "Accepted without effect.", action="store_true")
    add("sys_tmp_dir", argparse.SUPPRESS)
    add("redirect_output", "A file that gets what would be printed.", metavar="FILE")
    add("logfile", "A file that gets messages, with their time.", metavar="FILE")
    add("process_name", "A name that comes first in messages of the log file.", metavar="NAME")
    add("configfile", "A file like ~/.ilastikrc: threads and total_ram_mb of its section lazyflow.", metavar="FILE")
    add("raw_data", "Images.", nargs="+", metavar="FILE")
    add(
        "prediction_mask",
        "Masks, one per image in the same order; nothing is predicted where they are 0.",
        nargs="+",
        metavar="FILE",
    )
    parser.add_argument("images", nargs="*", metavar="FILE", help="Images, instead of --raw_data.")
    add("preconvert_stacks", "Accepted without effect: stacks are read plane by plane.", action="store_true")
    add(
        "input_axes",
        "Axes of raw data, or of raw data and masks: zyxc or zyxc,zyx. By default those of the training data.",
    )
    add("ignore_training_axistags", "Take the axes that the files say.", action="store_true")
    add("stack_along", "Axis over the files of a stack.", default="z", choices=["t", "c", "z"])
    add(
        "cutout_subregion",
        "Part to export: [(t,c,z,y,x),(t,c,z,y,x)], its first pixel and behind its last; None is the end.",
    )
    add("pipeline_result_drange", "Smallest and largest value before rescaling, e.g. (0.0,1.0).", metavar="(MIN,MAX)")
    add("export_drange", "Smallest and largest value after rescaling, e.g. (0,255).", metavar="(MIN,MAX)")
    add("export_dtype", "uint8, uint16, uint32, int8, int16, int32, float32 or float64.")
    add("output_axis_order", "Axes of the result, e.g. tzyxc.")
    add("output_format", "hdf5, compressed hdf5, n5, numpy, multipage tiff, tiff, png, ...; docs/ilastik.md has all.")
    add("output_filename_format", "Where to, with placeholders like {dataset_dir}, {nickname}, {result_type}.")
    add("output_internal_path", "Name of the result inside an HDF5 or N5 file.")
    add(
        "export_source",
        "Probabilities, Simple Segmentation, Uncertainty, Features or Labels; in Autocontext with Stage 1 or Stage 2.",
    )
    add("retrain", "Train a new forest on the project's labels, for this run.", action="store_true")
    add("tree_count", "Trees of a new forest.", type=int, metavar="N")
    add("label_proportion", "Share of the labels that a new forest sees, 0 to 1.", type=float, metavar="F")
    add("variable_importance_path", "A file that gets the share of every feature in the forest.", metavar="FILE")
    add("print_labels_by_slice", "Print how many pixels are painted in each section.", action="store_true")
    add("label_search_value", "Count only this class.", type=int, default=0, metavar="N")
    for name in REFUSED:
        parser.add_argument(*_spellings(name), nargs="?", const="", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="store_true", help="Show the version.")
    return parser


def _unquoted(argument: str) -> str:
    found = QUOTED.fullmatch(argument)
    return found[1] + found[3] if found else argument


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    given = _parser().parse_intermixed_args([_unquoted(a) for a in arguments])
    for name, reason in REFUSED.items():
        if getattr(given, name) is not None:
            raise _Usage(f"--{name} is a flag of ilastik that brushwork does not take: {reason}")
    if given.version:
        return given
    if not given.headless:
        raise _Usage(
            "only ilastik's headless mode is here, give --headless; brushwork import opens a project to paint in"
        )
    if given.project is None:
        raise _Usage("--project=NAME.ilp is needed")
    if given.readonly.lower() not in YES_OR_NO:
        raise _Usage(
            f"--readonly {given.readonly!r} is neither yes nor no; put images before --readonly or behind --raw_data"
        )
    if given.tree_count is not None and given.tree_count < 1:
        raise _Usage(f"--tree_count {given.tree_count} was given; a forest has 1 tree or more")
    if given.label_proportion is not None and not 0 < given.label_proportion <= 1:
        raise _Usage(f"--label_proportion {given.label_proportion:g} was given; it is above 0 and at most 1")
    if "" in (*(given.raw_data or given.images), *(given.prediction_mask or ())):
        raise _Usage("one of the names of images is empty; perhaps a variable of the script is")
    if given.images and (given.raw_data or given.prediction_mask):
        raise _Usage("images were given with and without --raw_data; put all of them behind --raw_data")
    if given.export_drange and not given.pipeline_result_drange:
        raise _Usage("--export_drange needs --pipeline_result_drange, the range it comes from")
    given.raw_data = given.raw_data or given.images
    if len(given.prediction_mask or ()) > len(given.raw_data):
        raise _Usage(
            f"{len(given.prediction_mask)} masks but {len(given.raw_data)} images were given; every mask needs its image"
        )
    return given


def _literal(flag: str, value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise _Usage(f"--{flag} {value!r} is not understood; --help shows how it is written") from None


def _range(flag: str, value: str) -> tuple[float, float]:
    found = _literal(flag, value)
    if not (isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(v, int | float) for v in found)):
        raise _Usage(f"--{flag} {value!r} is not two numbers, e.g. (0,255)")
    return float(found[0]), float(found[1])


def _subregion(value: str) -> dict[str, tuple[int | None, ...]]:
    found = _literal("cutout_subregion", value)
    both = isinstance(found, tuple | list) and len(found) == 2 and all(isinstance(end, tuple | list) for end in found)
    if not both or not all(v is None or isinstance(v, int) for end in found for v in end):
        raise _Usage(f"--cutout_subregion {value!r} is not [(first, ...), (stop, ...)] of whole numbers and None")
    return {"start": tuple(found[0]), "stop": tuple(found[1])}


def _export(given: argparse.Namespace, stored: "Export") -> "Export":
    """The project's settings, with what was given in their place."""
    changes: dict[str, Any] = {
        "source": given.export_source,
        "dtype": given.export_dtype,
        "axes": given.output_axis_order.lower() if given.output_axis_order else None,
        "format": given.output_format,
        "inner": given.output_internal_path,
    }
    if given.output_filename_format:
        changes |= {"filename": given.output_filename_format, "folder": Path.cwd()}
    if given.cutout_subregion:
        changes |= _subregion(given.cutout_subregion)
    if given.pipeline_result_drange and given.export_drange:
        ends = [_range(flag, getattr(given, flag)) for flag in ("pipeline_result_drange", "export_drange")]
        changes["rescale"] = (ends[0], ends[1])
    return replace(stored, **{name: value for name, value in changes.items() if value})


def _input_axes(value: str | None) -> tuple[str, str]:
    if value is None:
        return "", ""
    axes = ["" if part.strip() == "None" else part.strip().lower() for part in value.split(",")]
    if len(axes) > 2:
        raise _Usage(f"--input_axes {value!r} names {len(axes)} inputs; there are raw data and prediction masks")
    return axes[0], axes[-1]


def _resources(configfile: str | None) -> tuple[int | None, int | None]:
    """(threads, bytes for blocks), None where nothing is said: of ilastik's environment, else of its settings file."""
    config = configparser.ConfigParser()
    try:
        config.read(Path(configfile or "~/.ilastikrc").expanduser())
        said = {name: config.get("lazyflow", name, fallback=None) for name in ("threads", "total_ram_mb")}
        threads = int(os.environ.get("LAZYFLOW_THREADS") or said["threads"] or -1)
        ram = int(os.environ.get("LAZYFLOW_TOTAL_RAM_MB") or said["total_ram_mb"] or 0)
    except (configparser.Error, UnicodeDecodeError, ValueError) as error:
        raise InputError(
            f"threads and memory cannot be read from the environment or the settings file: {error}"
        ) from None
    if 0 < ram < LEAST_RAM_MB:
        raise InputError(f"the memory is limited to {ram} MB; give at least {LEAST_RAM_MB}, in MB, not in GB")
    return (max(threads, 1) if threads >= 0 else None), ((ram - OWN_RAM_MB) << 20 if ram > 0 else None)


# ---------------------------------------------------------------- work


@dataclass(frozen=True)
class _Job:
    """What is asked for. inputs : (image, mask)."""

    project: "IlpProject"
    export: "Export"
    reading: "Reading"
    inputs: tuple[tuple[str, str | None], ...]

    @property
    def needs_stages(self) -> bool:
        """Whether classifiers have a part in the results."""
        return bool(self.inputs) and not (
            self.export.source.startswith("Labels") or self.export.source == "Input Stage 1"
        )

    def plan(self, raw: str, mask: str | None, stages_for: "StagesFor") -> "Plan":
        from brushwork.interchange.headless import plan_of
        from brushwork.interchange.headless_inputs import open_input
        from brushwork.interchange.headless_results import result_of

        given = open_input(self.project, raw, mask, self.reading)
        stages = stages_for(given.image) if self.needs_stages else ()
        return plan_of(given, result_of(self.project, self.export.source, stages, given), self.export)

    def check(self, stages_for: "StagesFor", shares: Path | None) -> None:
        """Raise InputError for all that can be refused before anything is computed. shares : a file that is written as well."""
        from brushwork.interchange.headless import check_place, held, refuse_replacing
        from brushwork.interchange.headless_inputs import files_of

        project = held([str(self.project.path)])
        read = held(file for pair in self.inputs for uri in pair if uri for file in files_of(uri))
        if shares is not None:
            if shares.is_dir():
                raise InputError(f"{shares} is a folder; --variable_importance_path names a file")
            for kept in (project, read):
                refuse_replacing([shares], kept)
        taken: dict[tuple[Path, str], str] = {}
        for raw, mask in self.inputs:
            plan = self.plan(raw, mask, stages_for)
            place = (plan.path, plan.inner)
            if place in taken:
                raise InputError(
                    f"{taken[place]} and {raw} would both be written to {plan.path}; give --output_filename_format with "
                    "{nickname}, and mind that ilastik's names end at their last dot"
                )
            taken[place] = raw
            refuse_replacing(plan.targets, project)
            refuse_replacing(plan.targets, read, plan.inner if plan.format.extension == "h5" else "")
            check_place(plan)


def _work(given: argparse.Namespace) -> None:
    if given.version:
        print(f"brushwork {__version__}")
        return
    _send_messages(given)
    from brushwork.cli.console import before_computing, progress
    from brushwork.interchange.headless import run
    from brushwork.interchange.headless_results import checked_for, stored_for, stored_stages
    from brushwork.io.sources import PIECES

    threads, memory = _resources(given.configfile)
    if memory is not None:
        PIECES.max_bytes = memory // 4
        memory -= memory // 4
    job = _job(given)
    shares = Path(given.variable_importance_path) if given.variable_importance_path else None
    lessons = _lessons(given, job)
    stages_for: StagesFor
    if lessons is None:
        stages_for = partial(stored_for, job.project, stored_stages(job.project)) if job.needs_stages else lambda _: ()
    else:
        stages_for = partial(checked_for, job.project, lessons.stages)
    job.check(stages_for, shares)
    if given.print_labels_by_slice:
        _print_labels(job.project, given.label_search_value)
    before_computing()
    if lessons is not None:
        stages = _trained(lessons, threads)
        stages_for = partial(checked_for, job.project, stages)
        if shares is not None:
            _write_importances(shares, stages[-1])
    if not job.inputs:
        _tell("No image was given: nothing to predict.")
    for raw, mask in job.inputs:
        plan = job.plan(raw, mask, stages_for)
        _tell(f"Exporting to {plan.path / plan.inner if plan.inner else plan.path}")
        with progress(Path(raw).name) as show:
            run(plan, threads=threads, memory=memory, progress=show)


def _send_messages(given: argparse.Namespace) -> None:
    """To the files that are asked for, until the process ends."""
    from brushwork.io.aside import told

    if given.redirect_output:
        with told(Path(given.redirect_output)):
            sys.stdout = sys.stderr = open(given.redirect_output, "a")  # noqa: SIM115
    if given.logfile:
        with told(Path(given.logfile)):
            handler = logging.FileHandler(given.logfile)
        handler.setFormatter(logging.Formatter(f"%(asctime)s {given.process_name or ''} %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def _job(given: argparse.Namespace) -> _Job:
    from brushwork.interchange.headless import format_of, stored_export
    from brushwork.interchange.headless_inputs import Reading
    from brushwork.interchange.headless_results import source_named
    from brushwork.interchange.ilp import open_ilp

    path = Path(given.project).expanduser()
    project = open_ilp(path)
    project.stage()
    export = _export(given, stored_export(path))
    format_of(export)
    export = replace(export, source=source_named(project, export.source))
    reading = Reading(_input_axes(given.input_axes), given.ignore_training_axistags, given.stack_along)
    return _Job(project, export, reading, tuple(zip_longest(given.raw_data, given.prediction_mask or ())))


def _lessons(given: argparse.Namespace, job: _Job) -> "Lessons | None":
    """What new classifiers are trained with, where they are asked for or the project has none."""
    from brushwork.interchange.headless_results import Training, has_classifiers, lessons_of

    asked = given.retrain or given.tree_count or given.label_proportion or given.variable_importance_path
    if not asked and (has_classifiers(job.project) or not job.needs_stages):
        return None
    if not asked:
        reasons = "; ".join(stage.classifier.problem for stage in job.project.stages if stage.classifier.problem)
        _tell(f"The project has no classifier that can be used; a new one is trained for this run. {reasons}".rstrip())
    return lessons_of(job.project, Training(given.tree_count, given.label_proportion))


def _trained(lessons: "Lessons", threads: int | None) -> "tuple[Stage, ...]":
    from brushwork.interchange.headless_results import trained_stages

    began = time.perf_counter()
    stages = trained_stages(lessons, threads=threads)
    _tell(
        f"Trained on the project's labels in {time.perf_counter() - began:.1f} s; the project itself is left as it is."
    )
    return stages


def _print_labels(project: "IlpProject", value: int) -> None:
    import numpy as np

    total = 0
    for number, labels in enumerate(project.stage(1).labels):
        if "z" not in labels.axes:
            _tell(f"Image #{number} has no axis z, so its labels have no sections.")
            continue
        counted = labels.classes == value if value else labels.classes > 0
        sections, counts = np.unique(labels.coords[counted, labels.axes.index("z")], return_counts=True)
        for z, n in zip(sections.tolist(), counts.tolist()):
            _tell(f"Z={z}: {n}")
        _tell(f"Total labels for Image #{number}: {int(counts.sum())}")
        total += int(counts.sum())
    _tell(f"Total labels for project: {total}")


def _write_importances(path: Path, stage: "Stage") -> None:
    from brushwork.io.aside import written_aside

    lines = (f"{name}\t{share:.6f}\n" for name, share in stage.trained.importances().items())
    with written_aside(path, overwrite=True) as aside:
        aside.write_text("".join(lines))
