"""Rules for the scripts of a card: what hides a failure, prints a secret, or reports a number nobody measured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from madrun.registry.lint.finding import Hit, Rule
from madrun.registry.lint.shell import Line
from madrun.registry.lint.texts import Text

_FRONT = (  # what may stand before a program
    r"^[\s({!\"]*(?:(?:time|exec|sudo|nohup|env|eval|if|while|until|then|do|else|timeout(?:\s+-\S+)*\s+\S+|numactl(?:\s+-\S+)+|"
    r"\w+=\S*)\s+)*[\"]?"
)
_RUN = re.compile(
    _FRONT + r"(?:\S*/)?(?:python[\d.]*|torchrun|deepspeed|accelerate|mpirun|mpiexec|srun|lm_eval|vllm|"
    r"(?:bash|sh|source)\s+[^-\s]\S*|\S+\.(?:sh|py)|\$\{?\w*(?:RUNNER|CMD|COMMAND|LAUNCH)\w*\}?)(?=[\s;|&)\"}]|$)",
    re.IGNORECASE,
)
HARMLESS = re.compile(
    _FRONT + r"(?:(?:echo|printf|cat|date|env|printenv|ls|hostname|uname|lscpu|lspci|lsmod|ip|ps|df|du|free|head|tail|"
    r"nvidia-smi|rocm-smi|amd-smi|rocminfo|ibv_devinfo|dmesg|which|whoami|id|grep|awk|sed|sort|jq|find|docker|mount|"
    r"conda|pip[\d.]*|python[\d.]*\s+-m\s+pip|git)\b|\S+\s+(?:--version|-V|--help)(?:\s|$))"
)
_CLOSERS = re.compile(r"\s*(?:done|fi|esac|\}|\))")
_TEE = re.compile(r"\|&?\s*tee\b")
_COMMANDS = re.compile(r";|&&|\|\||(?<![>|])&(?![>\d])|\$\(|`")
_PIPEFAIL = re.compile(r"\bset\s[^;|&]*\bpipefail\b")
_OR_TRUE = re.compile(r"\|\|\s*(?:true|:|exit\s+0|/bin/true)\s*(?:[;)}]|$)")
_SETS = re.compile(r"(?:^|[;&|({]\s*)\s*set\s+((?:[-+]\w+\s*)+)")
_CONSTANT = re.compile(r"performance:\s*[+-]?\d[\d.]*(?:[eE][+-]?\d+)?(?:\s*,?\s*/?\w+)?\s")
_PORT = re.compile(r"(?:--(?:[\w-]*[_-])?port[= ]|\b\w*PORT=)[\"']?(\d{4,5})\b")
_APPEND = re.compile(r">>\s*(\"[^\"]*\"|'[^']*'|\S+)")
_APPEND_PYTHON = re.compile(
    r"\bopen\(\s*([^()]*(?:\([^()]*\))?[^()]*?),\s*(?:mode\s*=\s*)?[\"']a[bt+]*[\"']|\.to_csv\([^)]*mode\s*=\s*[\"']a"
)


@dataclass(frozen=True)
class Script:
    """A bash script, whose cards it serves, and whether its caller traces it."""

    text: Text
    cards: tuple[str, ...] = ()
    traced: bool = False

    @property
    def lines(self) -> list[Line]:
        """What bash carries out."""
        return self.text.code

    def hit(self, line: int, found: str) -> Hit:
        """A hit in this file."""
        return Hit(self.text.name, line, found.strip()[:120], self.cards)


def _runs(bare: str) -> bool:
    """Whether one of the commands in it is worth an exit code: a program that trains, serves or measures."""
    commands = (part for command in _COMMANDS.split(bare) for part in command.split("|"))
    return any(_RUN.match(command) and not HARMLESS.match(command) for command in commands)


def masked_pipe(script: Script) -> Iterator[Hit]:
    """`train | tee log` ends with the exit code of tee."""
    pipefail = "pipefail" in script.text.lines[0]
    for at, line in enumerate(script.lines):
        pipefail = pipefail or bool(_PIPEFAIL.search(line.bare))
        found = _TEE.search(line.bare)
        if pipefail or not found:
            continue
        command = _COMMANDS.split(line.bare[: found.start()])[-1]
        asked = any("PIPESTATUS" in later.text for later in script.lines[at : at + 4])
        whole = script.lines[: at + 1] if _CLOSERS.match(command) else []  # of a block: whatever it may hold
        harmless = not any(_runs(one.bare) for one in whole) if whole else HARMLESS.match(command)
        if not harmless and not asked:
            yield script.hit(line.number, line.text)


def masked_command(script: Script) -> Iterator[Hit]:
    """`train || true` never fails."""
    for line in script.lines:
        found = _OR_TRUE.search(line.bare)
        if not found:
            continue
        command = _COMMANDS.split(line.bare[: found.start()])[-1]
        if _runs(command) and " -c " not in command:
            yield script.hit(line.number, line.text)


def exit_zero(script: Script) -> Iterator[Hit]:
    """`exit 0` as the last line, where nothing has looked at what failed before."""
    if not script.lines or not re.fullmatch(r"\s*exit\s+0\s*;?\s*", script.lines[-1].bare):
        return
    for line in script.lines[:-1]:
        if any("e" in word for word in _switched(line.bare, "-")) or re.search(r"\bset\s+-o\s+errexit\b", line.bare):
            return
    runs = [line for line in script.lines[:-1] if _runs(line.bare)]
    checked = r"\|\||&&|^\s*(?:if|while|until)\b|\$\?"
    after = [line for line in script.lines[:-1] if runs and line.number > runs[-1].number and "$?" in line.text]
    if runs and not after and not re.search(checked, runs[-1].bare):
        yield script.hit(script.lines[-1].number, f"exit 0 after: {runs[-1].text}")


def _switched(bare: str, sign: str) -> list[str]:
    """The letters that `set` switches on (`-`) or off (`+`) in a line."""
    words = [word for found in _SETS.findall(bare) for word in found.split()]
    return [word[1:] for word in words if word.startswith(sign)]


def constant_result(script: Script) -> Iterator[Hit]:
    """A line `performance: 1 pass` that is printed as it stands."""
    for line in script.lines:
        if "performance:" not in line.text:
            continue
        for command in re.finditer(r"\b(?:echo|printf)\s+(?:-\w+\s+)*(\"[^\"]*\"|'[^']*'|[^;|&>]+)", line.text):
            if _CONSTANT.search(command[1].strip("\"'").replace("\\n", " ") + " "):
                yield script.hit(line.number, line.text)


def fixed_port(script: Script) -> Iterator[Hit]:
    """A port as a number, which a second run on this host finds taken."""
    for line in script.lines:
        if (found := _PORT.search(line.text)) and not line.text.lstrip().startswith(("echo", "printf")):
            yield script.hit(line.number, found[0])


def append_results(script: Script) -> Iterator[Hit]:
    """Rows that are added to a CSV which nothing has begun anew."""
    begun = ""
    for line in script.lines:
        for found in _APPEND.finditer(line.text):
            target = found[1].strip("\"'")
            is_results = target.endswith(".csv") or "MAD_OUTPUT_CSV" in target
            if is_results and target not in begun and line.bare.startswith(">>", found.start()):
                yield script.hit(line.number, found[0])
        begun += " ".join(re.findall(r"(?<!>)>\s*[\"']?([^\s\"'>&|;]+)", line.text)) + " "
        begun += line.text if re.search(r"\b(?:rm|tee|cp|mv|truncate)\b", line.bare) else ""


def carriage_returns(script: Script) -> Iterator[Hit]:
    """Line ends of Windows: bash takes the carriage return for a part of the last word."""
    for number, line in enumerate(script.text.lines, 1):
        if line.endswith("\r"):
            yield script.hit(number, "a carriage return at the end of the line")
            return


def undefined_usage(script: Script) -> Iterator[Hit]:
    """`usage` is called and never defined, so a wrong argument ends in `command not found`."""
    defined = re.search(r"(?:^|\n)\s*(?:function\s+usage\b|usage\s*\(\s*\))", script.text.raw)
    if defined or any(re.match(r"\s*(?:source|\.)\s", line.bare) for line in script.lines):
        return
    for line in script.lines:
        if re.search(r"(?:^|[;&|)]\s*)\s*usage\s*(?:[;&|]|$|\d)", line.bare):
            yield script.hit(line.number, line.text)
            return


def constant_in_python(script: Script) -> Iterator[Hit]:
    """The same of `print` with a text that has no value in it."""
    for number, line in enumerate(script.text.lines, 1):
        found = re.search(r"^\s*print\(\s*(f?)([\"'])(.*?)\2\s*[,)]", line)
        if found and _CONSTANT.search(found[3].replace("\\n", " ") + " "):
            yield script.hit(number, line)


def append_in_python(script: Script) -> Iterator[Hit]:
    """A CSV that is opened to be added to."""
    for number, line in enumerate(script.text.lines, 1):
        found = None if line.lstrip().startswith("#") else _APPEND_PYTHON.search(line)
        if found and (found[1] is None or "csv" in found[1].lower()):
            yield script.hit(number, line)


_NO_ROWS = "write the CSV anew in each run; rows of an earlier run are not this run's"
_CONSTANT_ADVICE = "print what was measured; a constant says nothing and counts as a success"
SHELL_RULES = (
    Rule("masked-pipe", "error", "put `set -o pipefail` before it, or ask PIPESTATUS", masked_pipe),
    Rule("masked-command", "error", "let the command's failure end the script", masked_command),
    Rule("exit-zero", "error", "leave `exit 0` out, or begin with `set -e`", exit_zero),
    Rule("constant-result", "error", _CONSTANT_ADVICE, constant_result),
    Rule("carriage-returns", "error", "save the file with line ends of Unix (dos2unix)", carriage_returns),
    Rule("append-results", "warning", _NO_ROWS, append_results),
    Rule("fixed-port", "warning", "take the port from a variable: ${PORT:-8000}; two runs here collide", fixed_port),
    Rule("undefined-usage", "warning", "define usage(), or print the message and exit", undefined_usage),
)
PYTHON_RULES = (
    Rule("constant-result", "error", _CONSTANT_ADVICE, constant_in_python),
    Rule("append-results", "warning", _NO_ROWS, append_in_python),
)
