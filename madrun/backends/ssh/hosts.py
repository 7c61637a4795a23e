"""Which hosts a launch by ssh has: `a,b`, `node[01-16]`, or a file with a host a line.

Formats: ranges as SLURM prints them, hostlist(3) of Slurm; `host slots=N` of Open MPI's and DeepSpeed's hostfiles,
mpirun(1); `host:N` of MPICH's Hydra.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product

from madrun.errors import ContextError

_MOST_HOSTS = 100_000  # more is a mistyped range
_MOST_SLOTS = 1024  # more is a port
_GROUP = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_NAME = re.compile(r"(?:[A-Za-z0-9_.+\\][A-Za-z0-9_.+\\@-]*@)?[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")
_OF_FILE = re.compile(r"([a-z_-]+)=(\S*)", re.IGNORECASE)
_FORMS = "a,b or node[01-16] or a file with one host a line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host as ssh is to be given it; `slots`: processes it is to have, 0 where that is not said.

    `line`: in the file that names it, from 1; 0 outside of a file.
    """

    name: str
    slots: int = 0
    line: int = 0

    @property
    def bare(self) -> str:
        """The name without its user."""
        return self.name.rpartition("@")[2]

    def __str__(self) -> str:
        """As a line of a file."""
        return f"{self.name} slots={self.slots}" if self.slots else self.name


def parse_hosts(
    text: str | Sequence[str], read_file: Callable[[str], str | None], said: str = "--hosts"
) -> tuple[Host, ...]:
    """The hosts in the order of the ranks, each once; `ContextError`, which begins with `said`, for what is none.

    `text`: a list of hosts, or the name of a file. `read_file` gives the text of a file, None where there is no such
    file; a word that could be a host is one unless a file has this name.
    """
    whole = text.strip() if isinstance(text, str) else ""
    found: Iterable[Host]
    if not isinstance(text, str):
        found = chain.from_iterable(_of_line(entry, said, 0) for entry in text)
    elif "\n" in whole:
        found = _of_file(whole, said)
    elif (content := _content(whole, read_file, said)) is not None:
        found = _of_file(content, f"{said}: {whole}")
    else:
        found = chain.from_iterable(_of_line(entry, said, 0) for entry in _split(whole))
    hosts: dict[str, Host] = {}
    for host in found:
        if host.name in hosts:
            raise ContextError(f"{said}: {_twice(hosts[host.name], host)}; allowed: each host once")
        if len(hosts) == _MOST_HOSTS:
            raise ContextError(f"{said}: found more than {_MOST_HOSTS} hosts; allowed: up to {_MOST_HOSTS}")
        hosts[host.name] = host
    if not hosts:
        raise ContextError(f"{said}: found no host in {text!r}; allowed: {_FORMS}")
    return tuple(hosts.values())


def slots_of(hosts: Sequence[Host], said: str = "--hosts") -> int:
    """The processes that every host is said to have, 0 where nothing is said; `ContextError` where they differ."""
    by_slots = {host.slots: host for host in reversed(hosts)}
    if len(by_slots) == 1:
        return hosts[0].slots
    first, other = hosts[0], next(host for host in hosts if host.slots != hosts[0].slots)
    raise ContextError(
        f"{said}: found {_slots(first)} for {first.name} and {_slots(other)} for {other.name}; allowed: the same "
        "number on all hosts; correct it, or set multi_node_args.NPROC_PER_NODE, which then stands for all"
    )


def _slots(host: Host) -> str:
    return f"slots={host.slots}" if host.slots else "no slots"


def _twice(first: Host, again: Host) -> str:
    places = f" on lines {first.line} and {again.line}" if first.line and again.line else ""
    return f"found {first.name} twice{places}"


def _content(word: str, read_file: Callable[[str], str | None], said: str) -> str | None:
    """The text of the file that the word names; None where it is no file."""
    if not word or ("," in word and "/" not in word) or "[" in word:
        return None
    content = read_file(word)
    if content is None and "/" in word:
        raise ContextError(f"{said}: found {word!r}, which is no file that can be read; allowed: {_FORMS}")
    return content


def _of_file(content: str, said: str) -> Iterator[Host]:
    for number, line in enumerate(content.splitlines(), 1):
        if text := line.partition("#")[0].strip():
            yield from _of_line(text, f"{said}: line {number}", number)


def _of_line(text: str, said: str, number: int) -> Iterator[Host]:
    """The hosts of one entry: a name with ranges and, behind it, how many processes it is to have."""
    words = text.split()
    if not words:
        return
    pattern, slots = _hydra(words[0], said)
    for word in words[1:]:
        match = _OF_FILE.fullmatch(word)
        key = match[1].lower().replace("-", "_") if match else ""
        if match is None or key not in ("slots", "max_slots"):
            raise ContextError(f"{said}: found {word!r} behind {words[0]}; allowed there: slots=N")
        count = _count(match[2], f"{said}: {word}")
        slots = count if key == "slots" else slots
    host = Host(name="", slots=slots, line=number)
    for name in _expand(pattern, said):
        if not _NAME.fullmatch(name):
            raise ContextError(f"{said}: found {name!r}, which is no host as ssh takes it; allowed: {_FORMS}")
        yield replace(host, name=name)


def _hydra(word: str, said: str) -> tuple[str, int]:
    """`host:N` as its two parts; an IPv6 address has more than one colon and no number of processes."""
    name, colon, count = word.rpartition(":")
    if not colon or ":" in name:
        return word, 0
    return name, _count(count, f"{said}: {word}")


def _count(text: str, said: str) -> int:
    if not re.fullmatch("[0-9]+", text) or not 1 <= int(text[:9]) <= _MOST_SLOTS:
        port = "; the port of a host belongs in your ssh_config" if text.isdecimal() and text.strip("0") else ""
        raise ContextError(f"{said}: found {text!r} processes, allowed: 1 to {_MOST_SLOTS}{port}")
    return int(text)


def _split(text: str) -> list[str]:
    """At the commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _expand(pattern: str, said: str) -> Iterator[str]:
    """Every name that a pattern with ranges stands for; the last range runs fastest."""
    pieces = _GROUP.split(pattern)
    if any(letter in piece for piece in pieces[::2] for letter in "[]"):
        raise ContextError(f"{said}: found {pattern!r}, whose brackets do not match; allowed: node[01-16]")
    groups = [_numbers(inside, pattern, said) for inside in pieces[1::2]]
    for numbers in product(*groups):
        yield pieces[0] + "".join(f"{number}{piece}" for number, piece in zip(numbers, pieces[2::2], strict=True))


def _numbers(inside: str, pattern: str, said: str) -> list[str]:
    found: list[str] = []
    for part in inside.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ContextError(f"{said}: found [{inside}] in {pattern!r}; allowed: numbers and ranges as [1,3-5]")
        first, last = match[1], match[2] or match[1]
        padded = any(len(end) > 1 and end.startswith("0") for end in (first, last))
        if len(first) > len(last) or (padded and len(first) != len(last)):
            raise ContextError(f"{said}: found [{part}] in {pattern!r}; allowed: ends of the same width, as [01-16]")
        if int(first) > int(last):
            raise ContextError(f"{said}: found [{part}] in {pattern!r}; allowed: the smaller number first")
        if int(last) - int(first) >= _MOST_HOSTS:
            raise ContextError(f"{said}: found [{part}] in {pattern!r}; allowed: up to {_MOST_HOSTS} hosts")
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return found
