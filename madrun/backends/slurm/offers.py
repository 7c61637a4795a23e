"""What the cluster has in place of what it refuses: its partitions, limits, features, and what the user may use."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping

from madrun.backends.slurm.client import ask
from madrun.errors import UsageError

POLICY = "limits"  # of a QOS, whatever key of the context is over them
_MOST, _ASK_S = 20, 10.0
_GPUS = ("gpus-per-node", "gpus-per-task", "gres")  # options that ask for GPUs
_SOCKETS = re.compile(r"\([^()]*\)")  # behind the number of a kind of GPUs: those that they hang on
_RESERVED = re.compile(r"ReservationName=(\S+).*? Users=(\S+).*? Accounts=(\S+)")


def allowed(key: str, given: Mapping[str, str]) -> str:
    """`found nope, allowed: main, short`, for a key of the context that was refused; `given`: the script's options.

    Empty where SLURM's programs do not tell (sinfo(1), sacctmgr(1), scontrol(1)), which is no error: the site may hide
    it, and may have no accounting.
    """
    teller = _TELLERS.get(key)
    try:
        return teller(given) if teller else ""
    except UsageError:
        return ""


def _partitions(given: Mapping[str, str]) -> str:
    return _found(given, "partition", _lines("sinfo", "--noheader", "--format=%R"))


def _accounts(given: Mapping[str, str]) -> str:
    mine, account = _associations("account"), given.get("account", "")
    if account in mine:  # a partition may take some of them only
        return f"{_user()} has the account {account}, but not for this partition"
    return _found(given, "account", mine, f" for {_user()}")


def _qos(given: Mapping[str, str]) -> str:
    mine = _associations("qos", *([f"account={given['account']}"] if "account" in given else []))
    return _found(given, "qos", (name for line in mine for name in line.split(",")), f" for {_user()}")


def _features(given: Mapping[str, str]) -> str:
    if "constraint" not in given:  # SLURM calls it so too where no node has as many GPUs
        return _gpus(given) if any(name in given for name in _GPUS) else ""
    lines = _sinfo(given, "%f")
    return _found(given, "constraint", (name for line in lines for name in line.split(",") if name != "(null)"))


def _gpus(given: Mapping[str, str]) -> str:
    name = next((name for name in _GPUS if name in given), _GPUS[0])
    found = [_SOCKETS.sub("", line) for line in _sinfo(given, "%G") if line != "(null)"]
    return _found(given, name, found, " on a node")


def _times(given: Mapping[str, str]) -> str:
    return _found(given, "time", (line.replace("|", " ") for line in _sinfo(given, "%R|%l")), " by partition")


def _nodes(given: Mapping[str, str]) -> str:
    said = " and ".join(f"--{name}={given[name]}" for name in ("nodelist", "exclude") if name in given)
    lines = _sinfo(given, "%N")
    return f"found {said}, allowed: nodes of {', '.join(lines)}" if said and lines else ""


def _reservations(given: Mapping[str, str]) -> str:
    lines = _lines("scontrol", "--oneliner", "show", "reservations")
    there = [match for line in lines if (match := _RESERVED.match(line))]
    known = ", ".join(map(_reserved, there)) or "none"
    return f"found {given.get('reservation', 'none')}, allowed: one of yours; there are: {known}"


def _reserved(found: re.Match[str]) -> str:
    whose = [f"{what} {who}" for what, who in (("users", found[2]), ("accounts", found[3])) if who != "(null)"]
    return f"{found[1]} ({'; '.join(whose)})" if whose else found[1]


def _limits(given: Mapping[str, str]) -> str:
    name = given.get("qos", "")
    words = ("show", "qos", "where", f"name={name}", "format=maxtres,maxwall,maxtrespernode,maxtresperuser")
    lines = _lines("sacctmgr", "-nP", *words) if name else []
    tres, wall, node, user = [*(lines[0].split("|") if lines else []), *[""] * 4][:4]
    said = (("a job", tres), ("a job's time", wall), ("a node of a job", node), ("all jobs of a user", user))
    limits = ", ".join(f"{what}: {limit}" for what, limit in said if limit)
    return f"QOS {name} allows {limits}" if limits else ""


_TELLERS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "partition": _partitions,
    "account": _accounts,
    "qos": _qos,
    "constraint": _features,
    "gpus_per_node": _gpus,
    "time": _times,
    "nodelist": _nodes,
    "reservation": _reservations,
    POLICY: _limits,
}


def _found(given: Mapping[str, str], option: str, names: Iterable[str], whose: str = "") -> str:
    """Empty strings are no names; of very many the first ones are said."""
    known = list(dict.fromkeys(name for name in names if name))
    more = f" and {len(known) - _MOST} more" if len(known) > _MOST else ""
    return f"found {given.get(option, 'none')}, allowed{whose}: {', '.join(known[:_MOST]) or 'none'}{more}"


def _associations(field: str, *where: str) -> list[str]:
    """What the accounting has for the user; `UsageError` where there is none."""
    return _lines("sacctmgr", "-nP", "show", "associations", "where", f"user={_user()}", *where, f"format={field}")


def _sinfo(given: Mapping[str, str], form: str) -> list[str]:
    named = [f"--partition={given['partition']}"] if "partition" in given else []
    return _lines("sinfo", "--noheader", f"--format={form}", *named)


def _lines(*words: str) -> list[str]:
    answer = ask(words, limit_s=_ASK_S)
    if answer.code:
        raise UsageError(answer.said)
    return list(dict.fromkeys(line.strip() for line in answer.out.splitlines() if line.strip()))


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
