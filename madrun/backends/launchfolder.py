"""The folder of a launch on the host where it was typed: what every node is given, and how far the launch has come."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.backends.nodescript import node_script, private_text
from madrun.spec.codec import from_plain, to_json
from madrun.spec.launch import FILE, PRIVATE, SCRIPT, Launch

ATTENDANT = "attendant.lock"  # held by the madrun that attends the launch
PRIVATE_NAME = "private-"  # so begin, beside the private file, the names of rendered files that may hold secrets
JOURNAL = "journal.jsonl"  # what happened, a line each: {"at": seconds, "event": word, ...}


@dataclass(frozen=True, slots=True)
class LaunchFolder:
    """`results/launches/<launch id>/`."""

    path: Path

    @classmethod
    def create(cls, launch: Launch, rendered: Mapping[str, str], private: Mapping[str, str]) -> LaunchFolder:
        """Writes all of it for its owner alone: words and files of the user may hold what nobody else is to read."""
        path = Path(launch.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        folder = cls(path)
        folder._write(PRIVATE, private_text(dict(private)))
        for name, text in {**files_of(launch), **rendered}.items():
            folder._write(name, text)
        folder._write(FILE, to_json(launch))
        return folder

    def launch(self) -> Launch:
        """As it was written."""
        return from_plain(Launch, json.loads((self.path / FILE).read_text(encoding="utf-8")))

    def journal(self, event: str, **details: Any) -> None:
        """Appends one line."""
        line = json.dumps({"at": round(time.time(), 3), "event": event, **details})
        with (self.path / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def has(self, event: str) -> bool:
        """Whether this has happened, as far as the journal says."""
        return any(one.get("event") == event for one in self.events())

    def events(self) -> list[dict[str, Any]]:
        """What the journal holds so far; a line that is being written is left out."""
        try:
            lines = (self.path / JOURNAL).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def forget_private(self) -> None:
        """Removes the private file, once no node needs it any more."""
        (self.path / PRIVATE).unlink(missing_ok=True)

    def keep(self, name: str, text: str) -> None:
        """One more file beside the others, which is not there yet."""
        self._write(name, text)

    def _write(self, name: str, text: str) -> None:
        place, mode = self.path / name, 0o700 if name.endswith(".sh") else 0o600
        place.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)


def files_of(launch: Launch) -> dict[str, str]:
    """What every backend gives to every node: the script, and the texts beside it."""
    return {SCRIPT: node_script(launch), **launch.files}
