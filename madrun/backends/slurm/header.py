"""The lines of a job script that sbatch reads."""

from __future__ import annotations

from collections.abc import Iterator

from madrun.backends.slurm.lines import option, pattern, quoted
from madrun.backends.slurm.settings import SlurmSettings
from madrun.spec.launch import Launch

_GPU_OPTIONS = {"gpus_per_node": "gpus-per-node", "gpus_per_task": "gpus-per-task", "gres": "gres"}
# Variables of sbatch(1) that would win over a line of the script; those without a line in it stay in force.
_VARIABLES = {
    "job-name": "SBATCH_JOB_NAME",
    "time": "SBATCH_TIMELIMIT",
    "array": "SBATCH_ARRAY_INX",
    "mem": "SBATCH_MEM_PER_NODE",
}
_ALWAYS = (
    *("SBATCH_ARRAY_INX", "SBATCH_EXPORT", "SBATCH_INPUT", "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_NO_REQUEUE"),
    *("SBATCH_REQUEUE", "SBATCH_WAIT", "SBATCH_WAIT_ALL_NODES", "SBATCH_GPUS", "SBATCH_NTASKS_PER_NODE"),
)


def job_name(launch: Launch) -> str:
    """`madrun-CARD-HEX`: no other launch has it, so that a job can be found whose number was lost."""
    return f"madrun-{launch.cards[0].replace('/', '.')}-{launch.id.rpartition('-')[2]}"


def header(launch: Launch, settings: SlurmSettings, array: str = "") -> str:
    """From `#!/bin/sh` to the last line that sbatch(1) reads. `array`: the tasks of an array, as --array has them."""
    given = [("array", array)] if array else []
    lines = [option(name, value) for name, value in (*_always(launch, bool(array)), *given, *_asked(settings))]
    lines += [f"#SBATCH {_further(line)}" for line in settings.sbatch]
    return "\n".join(["#!/bin/sh", *lines, *(f"# {note}" for note in settings.notes)])


def overruling(text: str) -> list[str]:
    """Variables that sbatch must not see, for it would take them instead of a line of this script."""
    names = [line.split()[1].removeprefix("--").partition("=")[0] for line in text.splitlines() if _is_option(line)]
    return sorted({*_ALWAYS, *(_VARIABLES.get(name, f"SBATCH_{name.upper().replace('-', '_')}") for name in names)})


def _is_option(line: str) -> bool:
    return line.startswith("#SBATCH --")


def _always(launch: Launch, array: bool) -> Iterator[tuple[str, str | int | None]]:
    yield "job-name", job_name(launch)
    yield "nodes", launch.nnodes
    yield "ntasks", launch.nnodes
    yield "ntasks-per-node", 1
    yield "output", f"{pattern(launch.folder)}/job{'-%a' if array else ''}.log"
    yield "open-mode", "append"  # a job that is run again must not wipe what the first attempt said


def _asked(settings: SlurmSettings) -> Iterator[tuple[str, str | int | None]]:
    for name in ("partition", "account", "qos", "constraint", "reservation", "nodelist", "exclude", "cpus_per_task"):
        if (value := getattr(settings, name)) is not None:
            yield name.replace("_", "-"), value
    if settings.limit is not None:
        yield "time", settings.limit
    if settings.gpus_per_node is not None:
        value = settings.gpus_per_node if settings.gpus != "gres" else f"gpu:{settings.gpus_per_node}"
        yield _GPU_OPTIONS[settings.gpus], value
    if settings.exclusive:
        yield "exclusive", None if settings.exclusive is True else settings.exclusive
    memory = settings.mem if settings.mem is not None else "0" if settings.exclusive is True else "none"
    if memory.lower() != "none":
        yield "mem", memory
    for name in ("comment", "mail_type", "mail_user"):
        if (value := getattr(settings, name)) is not None:
            yield name.replace("_", "-"), value
    yield ("requeue" if settings.requeue else "no-requeue"), None
    if settings.signal_s:
        yield "signal", f"B:USR2@{settings.signal_s}"


def _further(line: str) -> str:
    """A line of the user's own, its value quoted as sbatch reads it."""
    name, given, value = line.replace(" ", "=", 1).partition("=") if "=" not in line.split()[0] else line.partition("=")
    return f"{name}={quoted(value)}" if given else name
