"""Hosts that a case's launch has found at fault itself, before or without any record of a run."""

from __future__ import annotations

import time
from pathlib import Path

from madrun.backends.launchfolder import LaunchFolder
from madrun.spec.launch import BAD_HOSTS, CASE, FOLDERS
from madrun.spec.validation import Invalid


def bad_hosts(results: Path, tag: str, since: float) -> dict[str, str]:
    """By name why each could not take part, or how it was lost, in the launch of the attempt with this tag.

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
            events = (event for event in folder.events() if event.get("event") == BAD_HOSTS)
            return {str(host): str(why) for event in events for host, why in event.get("hosts", {}).items()}
    return {}


def _case(folder: LaunchFolder) -> str:
    """Of what attempt it is the launch; empty for that of another user, which nobody else may read."""
    try:
        return folder.launch().env.get(CASE, "")
    except (OSError, ValueError, Invalid):
        return ""
