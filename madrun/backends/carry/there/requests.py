"""What can be asked of a node: what it has, and to take what it lacks."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any, BinaryIO

from madrun.backends.carry.there import base, clones, images, private, results, store
from madrun.backends.carry.there.base import Refused, folder_of, free_space, inside, say


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """One request, one reply."""
    request = json.loads(source.readline())
    actions = {"look": look, "put": put, "clone": clones.clone, "image": images.take, "fetch": results.fetch}
    actions.update(
        {"clear": results.clear, "brought": results.brought, "forget": results.forget, "running": results.running}
    )
    try:
        answer = actions[request["do"]](request, source, sink)
    except Refused as refusal:
        answer = {"error": str(refusal)}
    except (OSError, EOFError, ValueError, subprocess.SubprocessError) as error:
        answer = {"error": base.in_words(error, folder_of(request))}
    if answer:
        say(sink, answer)


def look(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """What of the things named is here already; changes nothing but the time of their last use."""
    folder = folder_of(request)
    base.check_own(folder)
    missing = [name for name in request.get("objects", ()) if not store.touch(store.object_path(folder, name))]
    different = first_difference(request["same"]) if request.get("same") else None
    engine, wanted = request.get("engine") or "", request.get("madrun")
    seen = {name: images.inspect(engine, name) for name in request.get("images", ())}
    return {
        "folder": str(folder),
        "free": free_space(folder),
        "missing": missing,
        "madrun": wanted is not None and store.touch(store.madrun_path(folder, wanted)),
        "different": different,
        "images": seen,
        "zstd": shutil.which("zstd") is not None,
    }


def first_difference(same: dict[str, Any]) -> str:
    """The first entry that is not here as it is on the launching host; empty where all are."""
    for name, kind, value, changed in same["marks"]:
        path = Path(same["root"], name)
        try:
            seen = path.lstat()
            if kind == "link":
                like = os.readlink(str(path)) == value  # noqa: PTH115 - python 3.8
            else:
                like = stat.S_ISDIR(seen.st_mode) if kind == "folder" else stat.S_ISREG(seen.st_mode)
            if kind == "file":
                like = like and (seen.st_size, seen.st_mtime_ns) == (value, changed)
        except OSError:
            like = False
        if not like:
            return str(name)
    return "" if os.path.isdir(same["root"]) else same["root"]  # noqa: PTH112


def put(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """Takes objects and madrun's zip as they follow, then lays out the copies and the files that were asked for."""
    folder = folder_of(request)
    base.make_own(folder)
    store.forget_unused(folder)
    for name, size in request.get("objects", ()):
        store.take_object(source, folder, name, size)
    if request.get("madrun"):
        store.take_madrun(source, folder, request["madrun"])
    for tree in request.get("trees", ()):
        store.lay_out(folder, tree)
    for name, text, mode in request.get("files", ()):
        store.write(inside(folder, name), text.encode(), mode)
    for name, text in request.get("private", ()):
        private.hide(inside(folder, name), text, request["launch"])
    return {"done": True}
