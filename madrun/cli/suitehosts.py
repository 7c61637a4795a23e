"""What the launch of a case says of it, where no record of a run does: hosts at fault, and why it has ended."""

from __future__ import annotations

import time
from pathlib import Path

from madrun.backends.launchfolder import LaunchFolder
from madrun.spec.launch import BAD_HOSTS, CASE, FOLDERS
from madrun.spec.validation import Invalid


def launch_of(results: Path, tag: str, since: float) -> LaunchFolder | None:
    """The launch of the attempt with this tag; None where it came to none.

    `since`: seconds since the epoch; launches that were begun earlier are not looked at.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(since))
    folders = results / FOLDERS
    names = sorted((path.name for path in folders.iterdir()), reverse=True) if folders.is_dir() else []
    for name in names:
        if name < stamp:
            break
        folder = LaunchFolder(folders / name)
        if _case(folder) == tag:
            return folder
    return None


def bad_hosts(folder: LaunchFolder) -> dict[str, str]:
    """By name why each could not take part, or how it was lost."""
    events = (event for event in folder.events() if event.get("event") == BAD_HOSTS)
    return {str(host): str(why) for event in events for host, why in event.get("hosts", {}).items()}


def why_ended(folder: LaunchFolder) -> str:
    """What its backend says of its end; empty where it says nothing."""
    ends = [event for event in folder.events() if event.get("event") == "ended"]
    return str(ends[-1].get("why") or ends[-1].get("text") or "") if ends else ""


def _case(folder: LaunchFolder) -> str:
    """Of what attempt it is the launch; empty for that of another user, which nobody else may read."""
    try:
        return folder.launch().env.get(CASE, "")
    except (OSError, ValueError, Invalid):
        return ""
