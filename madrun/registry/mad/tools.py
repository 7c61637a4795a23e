"""tools.json: what each tool puts around a script, and how several of them stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from madrun.errors import ContextError
from madrun.spec.context import variable_problem
from madrun.spec.jsonfile import Unreadable, read_json
from madrun.spec.mad import COMMON, Step, Tool
from madrun.spec.validation import Invalid, did_you_mean, validate

FILE_NAME = "tools.json"
SHIPPED = Path(__file__).with_name("shipped")  # what madrun adds to scripts/common of a workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What tools and the context put around the script: steps in their order, shell text in front, variables.

    `origins`: which tool said a variable. `warnings`: fields of the tools that have no effect.
    """

    pre: tuple[Step, ...] = ()
    post: tuple[Step, ...] = ()
    front: str = ""
    env: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def tools_file(repository: Path, given: str | None) -> Path:
    """`--tools-config`, else the repository's own, else that of madrun; `ContextError` where the given one is none."""
    if given is not None:
        if not Path(given).expanduser().is_file():
            raise ContextError(f"--tools-config: {given} is not a file; leave it out for madrun's own tools")
        return Path(given).expanduser()
    own = repository / COMMON / FILE_NAME
    return own if own.is_file() else SHIPPED / FILE_NAME


def stacked(base: Stack, wanted: tuple[Tool, ...], file: Path) -> Stack:
    """`base`, what the context says itself, with each wanted tool around it: the last one is the outermost.

    A command that is there already is not put there again. `ContextError` names a tool that the file does not have.
    """
    definitions, warnings = _definitions(file)
    stack, commands = base, set[str]()
    for tool in wanted:
        if tool.name not in definitions:
            hint = did_you_mean(tool.name, definitions)
            raise ContextError(
                f"tools: found {tool.name!r}{hint}; {file} has {', '.join(sorted(definitions)) or 'none'}; "
                "--tools-config names another file"
            )
        one = _changed(definitions[tool.name], tool)
        command = (one.cmd or "").strip()
        front = stack.front if not command or command in commands else f"{command} {stack.front}"
        commands.add(command)
        stack = replace(
            stack,
            pre=(*(one.pre_scripts or ()), *stack.pre),
            post=(*stack.post, *(one.post_scripts or ())),
            front=front,
            env=stack.env | one.env_vars,
            origins=stack.origins | dict.fromkeys(one.env_vars, f"tool {tool.name}"),
        )
    return replace(stack, warnings=tuple(warnings))


def _changed(defined: Tool, asked: Tool) -> Tool:
    """The tool as this run wants it."""
    said = {
        name: value for name in ("cmd", "pre_scripts", "post_scripts") if (value := getattr(asked, name)) is not None
    }
    one = replace(defined, **said, env_vars=defined.env_vars | asked.env_vars)
    for name, value in one.env_vars.items():
        if problem := variable_problem(name, value):
            raise ContextError(f"tools: {asked.name}: env_vars.{name}: {problem}")
    return one


def _definitions(file: Path) -> tuple[dict[str, Tool], list[str]]:
    """Every tool of the file by name, and warnings of fields that mean nothing."""
    try:
        _, data = read_json(file)
    except FileNotFoundError:
        raise ContextError(f"{file}: cannot be read: No such file or directory") from None
    except Unreadable as error:
        raise ContextError(str(error)) from None
    tools = data.get("tools") if isinstance(data, dict) else None
    if not isinstance(tools, dict):
        raise ContextError(f'{file}: allowed: {{"tools": {{name: {{pre_scripts, cmd, env_vars, post_scripts}}}}}}')
    known = [one.name for one in fields(Tool)]
    found, warnings = {}, []
    for name, said in tools.items():
        values: Mapping[str, Any] = said if isinstance(said, dict) else {}
        warnings += [
            f"{file}: {name}: {key} has no effect{did_you_mean(key, known)}" for key in values if key not in known
        ]
        try:
            kept = {key: value for key, value in values.items() if key in known}
            found[name] = validate(Tool, said if not isinstance(said, dict) else {**kept, "name": name}, strict=False)
        except Invalid as invalid:
            raise ContextError(f"{file}: {name}: {invalid}") from None
    return found, warnings
