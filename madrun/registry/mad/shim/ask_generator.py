"""Started as a program of its own: runs one get_models_json.py and writes what it lists, as JSON, to a descriptor.

    python -B ask_generator.py FILE DESCRIPTOR SECONDS [NAME...]

Without names every card is listed as it comes. With names only those are, each after its `update_model()`.
Standard library only: this file runs without the package around it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import sys
import traceback
from types import ModuleType
from typing import Any

NAME, FUNCTION = "get_models_json", "list_models"
MARGIN_S = 5
SHIM = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is half of this program's start


class Refused(Exception):
    """What the generator did is not what it has to do."""


def main() -> None:
    """One answer, whatever the generator does: its cards, or what is wrong."""
    file, descriptor, limit, *names = sys.argv[1:]
    os.set_inheritable(int(descriptor), False)
    signal.alarm(int(float(limit)) + MARGIN_S)  # where the one that asks is gone, this process ends by itself
    _prepare(file)
    own = os.getpid()
    try:
        answer: dict[str, Any] = {"cards": _cards(file, names)}
    except BaseException as error:  # foreign code, which may end the program as well
        answer = _told(error, file)
    if os.getpid() != own:  # a copy that the generator made of this process and let go on
        os._exit(0)
    with open(int(descriptor), "w", encoding="utf-8", closefd=True) as target:  # noqa: PTH123
        json.dump(answer, target)


def _prepare(file: str) -> None:
    """The generator's own folder comes first, then our names, also for the programs that it starts."""
    places = [place for place in sys.path if place != SHIM]
    sys.path[:] = [os.path.dirname(file), SHIM, *places]  # noqa: PTH120
    sys.argv[:] = [file]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([SHIM, before] if before else [SHIM])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def _cards(file: str, names: list[str]) -> list[dict[str, Any]]:
    base = _base()
    function = getattr(_load(file), FUNCTION, None)
    if not callable(function):
        raise Refused(f"found no {FUNCTION}(), allowed: a function {FUNCTION}() that returns CustomModel objects")
    found = function()
    try:
        models = list(found)
    except TypeError:
        raise Refused(f"{FUNCTION}() returned {_type(found)}, allowed: a list of CustomModel objects") from None
    for index, model in enumerate(models):
        if not isinstance(model, base):
            raise Refused(f"{FUNCTION}() returned {_type(model)} at {index}, allowed: CustomModel objects")
    if not names:
        return [{"entry": _entry(model), "hook": _has_hook(model, base)} for model in models]
    return [_updated(model) for model in models if model.name in names]


def _base() -> type[Any]:
    found: type[Any] = importlib.import_module("madengine.utils.discover_models").CustomModel
    return found


def _load(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(NAME, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _has_hook(model: Any, base: type[Any]) -> bool:
    return getattr(model.update_model, "__func__", None) is not base.__dict__["update_model"]


def _updated(model: Any) -> dict[str, Any]:
    name = model.name
    model.update_model()
    return {"name": name, "entry": _entry(model)}


def _entry(model: Any) -> dict[str, Any]:
    """The fields that a card has; what a class of the generator adds is its own affair."""
    return {key: _plain(model, key, getattr(model, key)) for key in _base().__dataclass_fields__}


def _plain(model: Any, key: str, value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise Refused(f"{model.name}: {key}: found {_type(value)}, allowed: what JSON can hold ({error})") from None


def _type(value: object) -> str:
    return type(value).__name__


def _told(error: BaseException, file: str) -> dict[str, Any]:
    """What is to be said of the error, and the line of the generator that it came through."""
    if isinstance(error, Refused):
        return {"error": str(error), "line": None}
    text = traceback.format_exception_only(type(error), error)[-1].strip()
    if isinstance(error, SystemExit):
        text = f"ends the program ({text}), allowed: to return a list"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError):
        return {"error": text, "line": error.lineno if error.filename == file else (lines or [None])[-1]}
    last = frames[-1] if frames else None
    if last is not None and last.filename not in (file, __file__):
        text += f" (raised in {last.filename}:{last.lineno})"
    return {"error": text, "line": lines[-1] if lines else None}


if __name__ == "__main__":
    main()
