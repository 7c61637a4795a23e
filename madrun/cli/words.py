"""Options as words of a command line again: what another madrun is to be started with."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields
from functools import cache
from typing import Any, cast, get_args, get_type_hints


def words_of(group: Any, leave_out: tuple[str, ...] = ()) -> list[str]:
    """The flags of a group of options (a dataclass as `takes` knows them) that were given."""
    words: list[str] = []
    for name, flags in _flags(cast(Hashable, type(group))).items():
        value = getattr(group, name)
        if name in leave_out or value is None or value == []:
            continue
        yes, _, no = flags.partition("/")
        if isinstance(value, bool):
            words += [yes] if value else [no] if no else []
        elif isinstance(value, list):
            words += [word for entry in value for word in (yes, entry)]
        else:
            words += [yes, str(value)]
    return words


@cache
def _flags(group: Any) -> dict[str, str]:
    """The long flag of each option; of a switch with two `--yes/--no`."""
    hints = get_type_hints(group, include_extras=True)
    found = {}
    for one in fields(group):
        option = get_args(hints[one.name])[1]
        names = (option.default, *option.param_decls)  # in Annotated the first name stands where a default would
        found[one.name] = next(str(flag) for flag in names if str(flag).startswith("--"))
    return found
