"""Lines of a job script: what sbatch reads, and which further ones a user may add."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]&|*()!~^{}-]+", re.ASCII)
# What madrun sets itself, by the name of sbatch's option: to say it twice would break what the script relies on.
_OWN = (
    *("nodes", "ntasks", "ntasks-per-node", "output", "error", "input", "job-name", "open-mode", "signal", "array"),
    *("requeue", "no-requeue", "wrap", "parsable", "test-only", "wait", "chdir", "export", "no-kill", "ntasks-per-gpu"),
)
_KEYS = (
    *("partition", "account", "qos", "time", "gpus-per-node", "gpus-per-task", "gres", "constraint", "reservation"),
    *("exclusive", "nodelist", "exclude", "cpus-per-task", "mem", "comment", "mail-type", "mail-user"),
)
_ELSEWHERE = {
    **{name: f"slurm.{name.replace('-', '_')}" for name in _KEYS},
    "gpus-per-task": "slurm.gpus_per_node with slurm.gpus",
    "requeue": "slurm.requeue",
    "no-requeue": "slurm.requeue",
    "signal": "slurm.signal_s",
    "array": "madrun suite --array",
    "nodes": "--nodes",
}
SRUN_OWN = (  # of srun, for the step that madrun starts
    *("--nodes", "--ntasks", "--ntasks-per-node", "--nodelist", "--distribution", "--kill-on-bad-exit", "--wait"),
    *("--input", "--output", "--error", "--label", "--unbuffered", "--pty", "--export", "--job-name", "--multi-prog"),
)
_BEGIN = "#SBATCH --"
_LINE = re.compile(r"--([a-z][a-z0-9-]*)(?:[= ](.+))?", re.DOTALL)


def option(name: str, value: str | int | None = None) -> str:
    """`#SBATCH --name=value`; a value of other than plain letters in double quotes, as sbatch reads them."""
    if value is None:
        return f"{_BEGIN}{name}"
    return f"{_BEGIN}{name}={quoted(str(value))}"


def quoted(text: str) -> str:
    """A value as a line of a job script gives it: sbatch knows quotes and backslashes, and no variables."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def pattern(path: str) -> str:
    """A path as it stands in a file name pattern of sbatch(1), where % begins a replacement."""
    return path.replace("%", "%%")


def line_problem(line: str) -> str:
    """What is wrong with a further line; empty where it may stand in the script."""
    found = _LINE.fullmatch(line)
    if found is None or "\n" in line or "\r" in line:
        return f"found {line[:60]!r}, allowed: one option of sbatch a line, such as --licenses=matlab:1"
    name = found[1]
    if name in _ELSEWHERE:
        return f"found {line[:60]!r}; {_ELSEWHERE[name]} says that"
    if name in _OWN:
        return f"found {line[:60]!r}, which madrun sets itself; leave it out"
    return ""


def word_problem(text: str) -> str:
    """What is wrong with a value that has to be one word; empty where nothing is."""
    if text and not any(letter.isspace() or letter in "\"'\\`$" or not letter.isprintable() for letter in text):
        return ""
    return f"found {text[:60]!r}, allowed: one word without blanks and quotes"


def options_of(script: str) -> dict[str, str]:
    """What the lines of `option` in a script say, by sbatch's name; empty for an option without a value."""
    lines = (line.removeprefix(_BEGIN).partition("=") for line in script.splitlines() if line.startswith(_BEGIN))
    return {name: _unquoted(value) for name, _, value in lines}


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
