"""What a Dockerfile says before it is built: the images that it begins from, and what only BuildKit can do.

Format: https://docs.docker.com/reference/dockerfile/. What depends on the machine that builds (TARGETARCH and the like)
is not resolved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_HEREDOC = re.compile(r"(?<!\S)\d*<<-?([\"']?)([A-Za-z_]\w*)\1(?!\S)")
_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(\S+)\s*")
_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?:(:?[-+])([^}]*))?\})")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?\s+")
_BUILDKIT_FLAGS = {
    "RUN": ("mount", "network", "security", "device"),
    "COPY": ("link", "parents", "exclude", "chmod"),
    "ADD": ("link", "checksum", "keep-git-dir", "chmod", "exclude"),
}
TOOLS_STAGE = "tools"  # the name under which Dockerfiles of MAD repositories copy from docker/common
TOOLS = "madrun-tools"  # where those files are in the build context
_BY_PLATFORM = {f"{side}{what}" for side in ("BUILD", "TARGET") for what in ("PLATFORM", "OS", "ARCH", "VARIANT")}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its line in the file, word in upper case, and the rest, continuation lines joined."""

    line: int
    word: str
    rest: str
    heredoc: bool = False


class UnsetArgument(Exception):
    """A FROM needs a build argument that has no value; holds its name and the line."""

    def __init__(self, name: str, line: int) -> None:
        super().__init__(f"line {line}: FROM needs the build argument {name}, which has no value")


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions in order; comments and the bodies of heredocs are left out."""
    lines = text.removeprefix("\ufeff").split("\n")
    escape = "`" if directives(text).get("escape") == "`" else "\\"
    number = 0
    while number < len(lines):
        first, joined = number, ""
        while number < len(lines):
            line = lines[number]
            number += 1
            if line.lstrip().startswith("#") or (joined and not line.strip()):
                continue  # comments and empty lines may stand inside an instruction
            bare = line.rstrip()
            joined += bare[:-1] if bare.endswith(escape) else line
            if not bare.endswith(escape):
                break
        word, _, rest = joined.strip().partition(" ")
        ends = [found[2] for found in _HEREDOC.finditer(rest)] if word.upper() in _BUILDKIT_FLAGS else []
        for end in ends:
            number = _after_heredoc(lines, number, end)
        if word:
            yield Instruction(first + 1, word.upper(), rest.strip(), bool(ends))


def _after_heredoc(lines: list[str], number: int, end: str) -> int:
    while number < len(lines) and lines[number].lstrip("\t") != end:
        number += 1
    return number + 1


def directives(text: str) -> dict[str, str]:
    """The parser directives at the top, such as `syntax` and `escape`."""
    found: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").split("\n"):
        match = _DIRECTIVE.fullmatch(line.strip())
        if match is None:
            break
        found[match[1].lower()] = match[2]
    return found


def bases(text: str, given: Mapping[str, str]) -> tuple[str, ...]:
    """The images of other recipes that the last stage is made of, in order, that of its own FROM first.

    Those are what FROM, COPY --from and RUN --mount=from name in every stage that the last one needs. Raises
    `UnsetArgument`; what depends on the platform is left out, and so is `scratch`.
    """
    stages = _stages(text, given)
    if not stages:
        return ()
    found: dict[str, None] = {}
    needed, seen = [len(stages) - 1], set()
    while needed:
        index = needed.pop(0)
        if index in seen:
            continue
        seen.add(index)
        for image in stages[index].images:
            inner = _index(stages[:index], image)
            if inner is not None:
                needed.append(inner)
            elif image and image != "scratch":
                found[image] = None
    return tuple(found)


@dataclass(slots=True)
class _Stage:
    name: str
    images: list[str]


def _stages(text: str, given: Mapping[str, str]) -> list[_Stage]:
    scope: dict[str, str] = {}
    stages: list[_Stage] = []
    for instruction in instructions(text):
        flags, rest = _flags(instruction.rest)
        if instruction.word == "ARG" and not stages:
            scope |= _arguments(rest, scope, given)
        elif instruction.word == "FROM":
            words = rest.split()
            name = words[2].lower() if len(words) == 3 and words[1].upper() == "AS" else ""
            stages.append(_Stage(name, [_resolved(words[0], scope, instruction.line)] if words else []))
        elif stages:
            stages[-1].images += [image for image in _sources(flags) if "$" not in image]
    return stages


def _index(stages: list[_Stage], name: str) -> int | None:
    """Which of the stages is meant: the last of that name, or that of the number."""
    for index in reversed(range(len(stages))):
        if stages[index].name and stages[index].name == name.lower():
            return index
    return int(name) if name.isdigit() and int(name) < len(stages) else None


def _flags(rest: str) -> tuple[list[tuple[str, str]], str]:
    flags = []
    while match := _FLAG.match(rest):
        flags.append((match[1], match[2] or ""))
        rest = rest[match.end() :]
    return flags, rest


def _sources(flags: list[tuple[str, str]]) -> Iterator[str]:
    for name, value in flags:
        if name == "from":
            yield value
        elif name == "mount":
            yield from (part.partition("=")[2] for part in value.split(",") if part.startswith("from="))


def _arguments(rest: str, scope: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for word in _words(rest):
        name, equals, value = word.partition("=")
        if name in given:
            found[name] = given[name]
        elif equals:
            found[name] = _substituted(re.sub(r"[\"']", "", value), scope)[0]
    return found


def _resolved(image: str, scope: Mapping[str, str], line: int) -> str:
    """The image's name; empty where only the building machine knows it."""
    text, unset = _substituted(re.sub(r"[\"']", "", image), scope)
    if unset and set(unset) <= _BY_PLATFORM:
        return ""
    if unset:
        raise UnsetArgument(unset[0], line)
    return text


def _substituted(text: str, scope: Mapping[str, str]) -> tuple[str, list[str]]:
    """The text with its variables in place, and the names of those without a value."""
    unset = []

    def value(match: re.Match[str]) -> str:
        name, rule, word = match[1] or match[2], match[3] or "", match[4] or ""
        if not name:
            return "$"
        known = name in scope and (bool(scope[name]) or not rule.startswith(":"))
        if rule.endswith("+"):
            return word if known else ""
        if not known and not rule:
            unset.append(name)
        return scope[name] if known else word

    return _VARIABLE.sub(value, text), unset


def only_buildkit(text: str) -> tuple[str, ...]:
    """What of the Dockerfile the classic builder refuses, as `line 3: RUN --mount`; empty where it can build it."""
    found = []
    for instruction in instructions(text):
        known = _BUILDKIT_FLAGS.get(instruction.word, ())
        flags = [name for name, _ in _flags(instruction.rest)[0] if name in known]
        what = [f"{instruction.word} --{name}" for name in flags]
        what += [f"{instruction.word} <<"] if instruction.heredoc else []
        found += [f"line {instruction.line}: {one}" for one in what]
    return tuple(found)


def arguments(text: str) -> frozenset[str]:
    """The names that the Dockerfile declares with ARG, anywhere."""
    return frozenset(
        name
        for instruction in instructions(text)
        if instruction.word == "ARG"
        for name in (word.partition("=")[0] for word in _words(instruction.rest))
        if re.fullmatch(r"\w+", name)
    )


def secret_mounts(text: str) -> frozenset[str]:
    """The ids of the secrets that RUN instructions mount."""
    mounts = [
        dict(part.partition("=")[::2] for part in value.split(","))
        for instruction in instructions(text)
        if instruction.word == "RUN"
        for name, value in _flags(instruction.rest)[0]
        if name == "mount"
    ]
    found = [mount.get("id") or mount.get("target", "").rpartition("/")[2] for mount in mounts if _is_secret(mount)]
    return frozenset(name for name in found if name)


def _is_secret(mount: Mapping[str, str]) -> bool:
    return mount.get("type") == "secret"


def _words(rest: str) -> list[str]:
    return re.findall(r"(?:[^\s\"']|\"[^\"]*\"|'[^']*')+", rest)


def copies_tools(text: str) -> bool:
    """Whether it copies from `tools`, a build context beside its own, which no stage of it is called."""
    every = list(instructions(text))
    names = {one.rest.split()[-1].lower() for one in every if one.word == "FROM" and one.rest}
    return TOOLS_STAGE not in names and any(TOOLS_STAGE in _sources(_flags(one.rest)[0]) for one in every)


def with_tools(text: str) -> str:
    """The text with a stage `tools` that holds the files below `TOOLS`: so every builder can copy from it.

    Raises `ValueError` where stages are named by number, which another stage at the front would shift.
    """
    first = next((one for one in instructions(text) if one.word == "FROM"), None)
    if first is None:
        return text
    for instruction in instructions(text):
        for name in _sources(_flags(instruction.rest)[0]):
            if name.isdigit():
                raise ValueError(f"line {instruction.line}: --from={name} beside --from={TOOLS_STAGE}; name the stage")
    lines = text.split("\n")
    stage = [f"FROM scratch AS {TOOLS_STAGE}", f"COPY {TOOLS}/ /"]
    return "\n".join([*lines[: first.line - 1], *stage, *lines[first.line - 1 :]])
