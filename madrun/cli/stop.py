"""`madrun stop`: ends runs of this host in order, and what dead agents have left of them at once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from madrun.cli.launches import attended, end_attendant, find_launch, launch_of_run, stop_launch
from madrun.cli.ps import owner_of
from madrun.cli.tables import many
from madrun.cli.which import find_run, registry
from madrun.errors import ExitCode, UsageError
from madrun.node.seeing.census import Census, Contained, take
from madrun.node.seeing.ending import end_leftovers, forget, lives, remove, stands, terminate
from madrun.node.seeing.going import keepers
from madrun.node.seeing.presence import Resident
from madrun.spec.validation import nearest
from madrun.units import format_duration, parse_duration

_MORE_S, _TICK_S = 10.0, 0.05


def stop(run: str | None, everything: bool, grace: str | None, results: str) -> int:
    """0 when nothing of it is left here; 2 where the named run is not running here or is another user's; 3 where
    something could not be ended.
    """
    if (run is None) != everything:
        found = "both RUN and --all" if everything else "neither RUN nor --all"
        raise UsageError(f"stop: found {found}; allowed: one of them (madrun ps shows what runs)")
    patience = _grace(grace)
    if run is not None and (launch := find_launch(run, results)) is not None:
        return stop_launch(launch, patience)
    launches = [end_attendant(who, patience) for who in (attended() if everything else ())]
    census = take(registry())
    for note in census.notes:
        _say(note)
    if run is None:
        chosen = _all_of_mine(census)
        _name_others(census)
    else:
        run, chosen = _named(census, run, results)
    if run is not None and not _holds(chosen) and (launch := launch_of_run(run, results)) is not None:
        return stop_launch(launch, patience)
    if run is not None and not _holds(chosen):
        _say(f"nothing of {run} runs on this host{_elsewhere(census)}")
        return int(ExitCode.USAGE)
    if not _holds(chosen):
        if not launches:
            _say("nothing of this user's runs on this host")
        return max(launches, default=0)
    if run is not None and (strangers := _strangers(chosen)):
        raise UsageError(f"stop: {run} belongs to {', '.join(strangers)}; they, or root, can stop it")
    return max(_end(chosen, patience), *launches, 0)


def _say(text: str) -> None:
    sys.stderr.write(f"madrun: {text}\n")
    sys.stderr.flush()


def _grace(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--grace: {error}") from None


def _holds(census: Census) -> bool:
    return bool(census.agents or census.containers or census.leftovers)


def _all_of_mine(census: Census) -> Census:
    mine = os.getuid()
    return replace(
        census,
        agents=tuple(agent for agent in census.agents if agent.uid == mine),
        containers=tuple(found for found in census.containers if found.owner == mine),
    )


def _name_others(census: Census) -> None:
    others = sorted(
        {(found.name, owner_of(found.owner or 0)) for found in census.containers if found.owner != os.getuid()}
    )
    for name, owner in others:
        _say(f"left alone: {name} of {owner}")


def _named(census: Census, word: str, results: str) -> tuple[str, Census]:
    """The run that the word means, of those here or of those that were, and what of it is here; `UsageError` for none.

    Agents that are in no registry of ours, as another user's, are found by the run's directory.
    """
    here = _run_ids(census)
    begun = sorted(run_id for run_id in here if run_id.startswith(word)) if word else []
    if len(begun) > 1 and word not in here:
        raise UsageError(f"RUN: {word!r} is the beginning of {len(begun)} runs here: {', '.join(begun)}")
    if begun:
        run_id = word if word in here else begun[0]
        return run_id, _only(census, run_id)
    try:
        path = find_run(word, results)
    except UsageError as error:
        near = nearest(word, here)
        hint = f"; of those that run here the nearest: {', '.join(near)}" if near else ""
        raise UsageError(f"{error}{hint}") from None
    agents = (agent for _, state, agent in keepers(path) if state == "alive" and agent is not None and agent.is_here)
    chosen = _only(census, path.name)
    return path.name, replace(chosen, agents=chosen.agents or tuple(agents))


def _run_ids(census: Census) -> set[str]:
    agents = {agent.run_id for agent in census.agents}
    return agents | {found.run_id for found in census.containers} | {left.run_id for left in census.leftovers}


def _only(census: Census, run_id: str) -> Census:
    return replace(
        census,
        agents=tuple(agent for agent in census.agents if agent.run_id == run_id),
        containers=tuple(found for found in census.containers if found.run_id == run_id),
        leftovers=tuple(left for left in census.leftovers if left.run_id == run_id),
        stale=tuple(entry for entry in census.stale if entry[0].run_id == run_id),
    )


def _elsewhere(census: Census) -> str:
    names = sorted({agent.run_id for agent in census.agents})
    return f"; here runs {', '.join(names)}" if names else "; nothing of madrun does"


def _strangers(chosen: Census) -> list[str]:
    """Other users whose it is; nobody is a stranger to root."""
    if os.getuid() == 0:
        return []
    uids = {agent.uid for agent in chosen.agents} | {found.owner for found in chosen.containers}
    return sorted(owner_of(uid) for uid in uids if uid is not None and uid != os.getuid())


def _end(chosen: Census, patience: float | None) -> int:
    kept = {(agent.run_id, agent.rank) for agent in chosen.agents}
    apart = [agent for agent in chosen.agents if not agent.is_here]
    waited = _end_agents(chosen, patience)
    theirs = {(agent.run_id, agent.rank) for agent in apart}  # what lives keeps its container
    mine = [found for found in chosen.containers if (found.run_id, found.rank) not in theirs]
    left = [found for found in mine if (found.run_id, found.rank) not in kept or stands(chosen, found)]
    refused = [f"container {found.name}: {why}" for found in left if (why := _remove(chosen, found))]
    refused += [f"agent {agent.pid} of {agent.run_id}: {_still(agent)}" for agent in waited]
    refused += [f"process {left.pid} of {left.run_id} ({left.command})" for left in end_leftovers(chosen.leftovers)]
    forget(chosen.stale)
    asked = len(kept) - len(waited) - len(apart)
    ended = [many(asked, "agent")] if asked else []
    ended += [many(len(left), "left-over container")] if left else []
    ended += [many(len(chosen.leftovers), "left-over process", "es")] if chosen.leftovers else []
    refused += [f"agent {agent.pid} of {agent.run_id}: {_apart(agent)}" for agent in apart]
    for text in refused:
        _say(f"could not be ended: {text}")
    runs = sorted(_run_ids(chosen))
    if not refused:
        sys.stdout.write(f"ended: {', '.join(runs)} ({', '.join(ended)})\n")
    return int(ExitCode.RUN_FAILED if refused else ExitCode.OK)


def _remove(chosen: Census, found: Contained) -> str:
    """Why a container that was left is still there; the agent of one that lives is asked, not robbed."""
    if any((agent.run_id, agent.rank) == (found.run_id, found.rank) and lives(agent) for agent in chosen.agents):
        return "its agent still ends it"
    return remove(chosen, found)


def _apart(agent: Resident) -> str:
    return f"it lives in another pid namespace of {agent.host}, as that of a container: stop it in there"


def _still(agent: Resident) -> str:
    return f"it has not ended yet; kill -9 {agent.pid} ends it without its record, then madrun gc"


def _end_agents(chosen: Census, patience: float | None) -> Sequence[Resident]:
    """Asks the agents to end, a second time after --grace; those that are still there after grace and 10 s."""
    left = [agent for agent in chosen.agents if terminate(agent)]
    deaf = [agent for agent in chosen.agents if agent not in left and lives(agent)]
    if not left:
        return deaf
    grace = max(agent.grace_s for agent in left)
    bound = (grace if patience is None else min(grace, patience)) + _MORE_S
    started = time.monotonic()
    pressed = patience is None
    _say(f"asked {many(len(left), 'agent')} to end; waiting {format_duration(bound)} at most")
    while (waited := time.monotonic() - started) < bound:
        left = [agent for agent in left if lives(agent)]
        if not left:
            return deaf
        if not pressed and patience is not None and waited >= patience:
            pressed = True
            for agent in left:
                terminate(agent)
        time.sleep(_TICK_S)
    return [*deaf, *left]
