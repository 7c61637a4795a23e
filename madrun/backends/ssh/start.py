"""What is said to each node to start its part of a launch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from madrun.errors import UsageError
from madrun.spec.launch import BEAT_S, LEASE, SCRIPT, Launch, NodeStart

_WRITES = ("--summary-output", "--manifest-output", "--mad-files", "--cleanup-perf", "--sys-env-details")


def starts(hosts: Sequence[str], master: str) -> list[NodeStart]:
    """The nodes by rank, which is their place among the hosts."""
    return [NodeStart(rank, host, master) for rank, host in enumerate(hosts)]


def node_command(start: NodeStart, folder: str, more: Mapping[str, str]) -> str:
    """The text of sh that starts a node's script in `folder`; `more` are variables that this node has of its own."""
    values = {**start.env(), **{name: value for name, value in more.items() if value}, LEASE: "stdin"}
    said = " ".join(f"{name}={shlex.quote(value)}" for name, value in values.items())
    return f"exec env {said} sh {shlex.quote(f'{folder}/{SCRIPT}')}"


def check_words(launch: Launch, shared: bool) -> None:
    """`UsageError` for words by which node 0 writes files here, where it has other files than this host."""
    found = [word for word in launch.words if word in _WRITES]
    if found and not shared:
        raise UsageError(
            f"{', '.join(found)}: found with a node 0 that does not see {launch.results}: what these write would stay "
            "on its disk; leave them out (--json and madrun report --json say the same), or share the results"
        )


def by_hand(launch: Launch, hosts: Sequence[str], master: str) -> str:
    """A script that starts all nodes as they are started here, for who wants to do it by hand.

    Each ssh is given beats for as long as the script lives, so that nothing outlives it.
    """
    lines = [
        f"beats | ssh -T {shlex.quote(start.host)} {shlex.quote(node_command(start, launch.folder, {}))} &"
        + (" node_0=$!" if start.rank == 0 else "")
        for start in starts(hosts, master)
    ]
    return _BY_HAND.format(id=launch.id, beat=f"{BEAT_S:g}", lines="\n".join(lines))


_BY_HAND = """#!/bin/sh
# Starts all nodes of launch {id}; every host sees this folder, and has madrun.
beats() {{ while kill -0 $$ 2>/dev/null && echo; do sleep {beat}; done; }}
{lines}
wait "$node_0"; code=$?
wait
exit "$code"
"""
