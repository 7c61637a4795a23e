"""What keeps hosts from taking part: each in a word, with what ssh or the host said and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from madrun.backends.ssh.connection import NO_CONNECTION, TOO_LONG, Reply
from madrun.backends.ssh.settings import SshSettings
from madrun.backends.ssh.visitscript import Seen
from madrun.spec.launch import Launch

_LONGEST = 300
_SHOWN = 4  # hosts of one problem whose own words are shown; the others are named
_NAMED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a host cannot take part. `title` and `advice` are the same for all that have it; HOST stands in them."""

    rank: int
    host: str
    title: str
    said: str
    advice: str

    @property
    def told(self) -> str:
        """What to do for this host."""
        return self.advice.replace("HOST", self.host)


# What ssh says, in the order of what is looked for: its own texts, in OpenSSH's sshconnect.c, sshconnect2.c, packet.c.
_OF_SSH: tuple[tuple[str, str, str], ...] = (
    (
        r"Could not resolve hostname",
        "unknown host",
        "correct the name, or give it a HostName in your ssh_config; a file of hosts is named by its path: ./hosts.txt",
    ),
    (
        r"IDENTIFICATION HAS CHANGED",
        "host key changed",
        "where the host was installed anew: ssh-keygen -R HOST, then ssh HOST once; else ask who runs it: somebody may "
        "be answering in its place",
    ),
    (
        r"Host key verification failed",
        "unknown host key",
        "type ssh HOST once and compare its key; or, where you trust the network: "
        "--set 'ssh.options=[StrictHostKeyChecking=accept-new]'",
    ),
    (
        r"Permission denied \([^)]*(?:password|keyboard-interactive)",
        "no key is accepted, and a password cannot be asked for",
        "ssh-copy-id HOST, or ssh-add your key; where a second factor is asked for, hold a login by ControlMaster and "
        "ControlPath of your ssh_config",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "no key is accepted",
        "ssh-copy-id HOST, ssh-add your key, or name user and key in your ssh_config: User, IdentityFile",
    ),
    (
        r"Connection refused",
        "connection refused",
        "start sshd there, or give its Port in your ssh_config",
    ),
    (
        r"timed out|No route to host|Network is unreachable|not responding",
        "no answer",
        "look whether it is up and reached from here: a firewall, a ProxyJump; ssh.connect_timeout gives it longer",
    ),
    (
        r"exchange_identification|Connection reset|Connection closed|closed by UNKNOWN",
        "connection closed before the login",
        "it was tried several times: look at MaxStartups and the log of the sshd there, or of the jump host; "
        "--set ssh.fanout=8 logs in to fewer at a time",
    ),
)
_ANY = ("ssh failed", "make `ssh -o BatchMode=yes HOST true` work")


def of_reply(rank: int, reply: Reply, limit_s: float) -> Problem:
    """Why a host gave no answer that can be read."""
    if reply.code == TOO_LONG:
        said = f"logged in, and no answer within {limit_s:.0f} s"
        advice = "`ssh HOST true` has to end at once: look at its file systems (NFS), its login shell and its engine"
        return Problem(rank=rank, host=reply.host, title="no answer", said=said, advice=advice)
    if reply.code == NO_CONNECTION:
        pattern, title, advice = next((one for one in _OF_SSH if re.search(one[0], reply.said)), ("", *_ANY))
        return Problem(rank=rank, host=reply.host, title=title, said=_line(reply.said, pattern), advice=advice)
    said = _line(reply.out.decode(errors="replace") + "\n" + reply.said, "") or f"ended with {reply.code}"
    advice = "`ssh HOST 'echo hello'` has to print hello: the account needs a shell there"
    return Problem(rank=rank, host=reply.host, title="no shell", said=said, advice=advice)


def of_seen(seen: Seen, settings: SshSettings, launch: Launch, some_engine: bool) -> list[Problem]:
    """What a host that answered lacks. `some_engine`: another host has a container engine."""
    found = [*_of_madrun(seen, settings, launch)]
    asked = launch.runtime in ("docker", "podman")
    serving = [engine for engine in seen.engines if not asked or engine.partition(" ")[0] == launch.runtime]
    if not serving and launch.runtime != "process" and (asked or some_engine):
        found.append(_of_engine(seen, launch.runtime))
    return [
        Problem(rank=seen.rank, host=seen.host, title=title, said=said, advice=advice) for title, said, advice in found
    ]


def _of_engine(seen: Seen, runtime: str) -> tuple[str, str, str]:
    """Why nothing there would enclose the script."""
    if seen.silent and (runtime == "podman" or not (seen.broken or runtime == "docker")):
        said = f"podman is installed, but its API {seen.silent}"
        advice = (
            "ssh HOST systemctl --user enable --now podman.socket (as root without --user; without systemd: podman "
            "system service --time=0), or leave the host out; --runtime process needs none"
        )
        return "podman without its API socket", said, advice
    there = "".join(f", only {engine}" for engine in seen.engines[:1])
    missing = (
        "neither docker nor podman is" if runtime == "auto" else f"no {runtime} answers there{there}; it has to be"
    )
    said = (runtime != "podman" and seen.broken) or f"{missing} on the PATH that `ssh HOST env` shows"
    advice = "start the engine there, let this user use it, or leave the host out; --runtime process needs none"
    return "no container engine", said, advice


def _of_madrun(seen: Seen, settings: SshSettings, launch: Launch) -> list[tuple[str, str, str]]:
    """Of madrun there, or of what it takes to bring it."""
    if settings.madrun == "installed" and seen.madrun != launch.version:
        title = "another version of madrun" if seen.madrun else "no madrun"
        said = f"{seen.madrun or 'none'} there, {launch.version} here"
        return [(title, said, "install the same there, or leave out ssh.madrun: installed, and it is brought there")]
    carried = settings.madrun == "carry" or seen.madrun != launch.version
    found = []
    if carried and not seen.pythons:
        advice = "install python 3.10 or newer there, or the same madrun, on the PATH that `ssh HOST env` shows"
        found.append(("no python", "no python3 from 3.10 on: madrun cannot be brought there", advice))
    if carried and not seen.writable:
        said = f"{seen.folder} cannot be made or written by {seen.user or 'this user'}"
        found.append(("nowhere to write", said, "name another folder there: --set ssh.folder=/scratch/you"))
    return found


def same_machine(seen: Sequence[Seen]) -> list[Problem]:
    """Hosts that are one machine under several names."""
    by_machine: dict[str, list[Seen]] = {}
    for one in seen:
        if one.machine:
            by_machine.setdefault(one.machine, []).append(one)
    title, advice = "two names of one machine", "name each machine once; two nodes cannot share one machine by ssh"
    return [
        Problem(
            rank=again.rank,
            host=again.host,
            title=title,
            said=f"{hosts[0].host} is the same machine, {again.name}",
            advice=advice,
        )
        for hosts in by_machine.values()
        for again in hosts[1:]
    ]


def as_text(problems: Sequence[Problem], count: int) -> str:
    """All of them in one message, those of one kind together."""
    hosts = {problem.rank for problem in problems}
    lines = [f"--on ssh: {len(hosts)} of {count} hosts cannot take part, so nothing was started"]
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in sorted(problems, key=lambda one: one.rank):
        groups.setdefault((problem.title, problem.advice), []).append(problem)
    for (title, _), group in groups.items():
        lines += [f"  {problem.host}: {title}: {problem.said}" for problem in group[:_SHOWN]]
        if more := [problem.host for problem in group[_SHOWN:]]:
            rest = f" and {len(more) - _NAMED} more" if len(more) > _NAMED else ""
            lines.append(f"  {title}, too: {', '.join(more[:_NAMED])}{rest}")
        lines.append(f"    do: {group[0].told}")
    return "\n".join(lines)


def reasons(problems: Sequence[Problem]) -> dict[str, str]:
    """By host what keeps it from taking part, the first where there are several."""
    return {one.host: f"{one.title}: {one.said}" for one in reversed(problems)}


def _line(text: str, pattern: str) -> str:
    """The line that says it, else the last one, without what a terminal would take for its own."""
    lines = [line for raw in text.splitlines() if (line := "".join(filter(str.isprintable, raw)).strip(" @"))]
    found = [line for line in lines if pattern and re.search(pattern, line)]
    return (found or lines or [""])[-1][:_LONGEST]
