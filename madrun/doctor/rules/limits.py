"""Shared memory and the limits of processes."""

from __future__ import annotations

from madrun.doctor.asked import Asked
from madrun.doctor.inside import SHM_FLOOR, SHM_GOOD, SHM_OF_RANK
from madrun.doctor.rules.rdma import has_verbs
from madrun.planning.inside import LEAST_MEMLOCK
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding, State
from madrun.spec.health import ControlGroup, Limit, Limits, Space
from madrun.units import format_size

_SHM_PAGE = "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html (shared memory, Docker)"
_LOCKED_PAGE = "https://man7.org/linux/man-pages/man2/getrlimit.2.html (RLIMIT_MEMLOCK); ibv_reg_mr(3) locks memory"
_FILES_PAGE = "https://docs.pytorch.org/docs/stable/multiprocessing.html (file descriptors and sharing)"
_PROCESSES_PAGE = "https://man7.org/linux/man-pages/man2/getrlimit.2.html (RLIMIT_NPROC)"
_STACK_PAGE = "https://man7.org/linux/man-pages/man3/pthread_create.3.html (stack of threads by RLIMIT_STACK)"
_GROUP_PAGE = "https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max, pids.max, cpu.max)"
_FILES_GOOD, _PROCESSES_GOOD, _STACK_USUAL, _PIDS_GOOD = 4096, 4096, 8 << 20, 4096
_MOST_SHARE = 0.95  # of the host's memory or CPUs, at which a limit is as good as none


def shared_memory(host: Space, facts: HostFacts, asked: Asked) -> list[Finding]:
    """What the job gets: the container's own, or the host's; an engine gives 64 MiB unless it is told otherwise."""
    name, here = "shared memory", f"the host's /dev/shm has {format_size(host.total)}, {format_size(host.free)} free"
    if asked.in_container and asked.shm_size is not None:
        size, text = asked.shm_size, f"the container gets {format_size(asked.shm_size)} of /dev/shm ({here})"
        advice = "give shm_size: 1g or more in the context, or leave it out: half of the host's memory"
        if size > facts.memory:
            text += f", which is more than the host's {format_size(facts.memory)} of memory"
            return [Finding(name=name, state="WARN", text=text, advice=advice, source=_SHM_PAGE)]
    elif asked.in_container and not asked.is_planned:
        return [Finding(name=name, state="UNKNOWN", text=f"no plan says what the container gets ({here})")]
    else:
        size, text = host.free, here
        advice = "remove from /dev/shm what no process uses any more (fuser -v /dev/shm/*), or as root: "
        advice += "mount -o remount,size=50% /dev/shm"
    if size >= SHM_GOOD:
        return [Finding(name=name, state="PASS", text=text)]
    small = size < max(SHM_FLOOR, SHM_OF_RANK * asked.nproc_per_node)
    wanted = "the ranks of a node and data loaders exchange their data there"
    return [
        Finding(name=name, state="FAIL" if small else "WARN", text=f"{text}; {wanted}", advice=advice, source=_SHM_PAGE)
    ]


def of_shell(limits: Limits, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Limits of this shell. Those of a container are its engine's, so here they count for the process runtime."""
    found = [_locked(limits.locked, facts, asked)]
    if asked.in_container:
        return found
    root = facts.uid == 0
    return [
        *found,
        _counted("open files", "-n", limits.files, _FILES_GOOD, _FILES_PAGE),
        _counted("processes", "-u", limits.processes, _PROCESSES_GOOD, _PROCESSES_PAGE, free=root),
        _stack(limits.stack),
    ]


def _locked(shell: Limit, facts: HostFacts, asked: Asked) -> Finding:
    """RDMA registers memory by locking it; nothing else of a job needs it."""
    name, engine = "locked memory", facts.engine
    if not asked.in_container:
        limit, text = shell.soft, f"ulimit -l is {_size(shell.soft)} in this shell"
        advice = "raise memlock in /etc/security/limits.conf (or LimitMEMLOCK= of the service), and log in again"
    elif engine is None:
        return Finding(name=name, state="UNKNOWN", text="no engine answers, whose limits a container would have")
    elif engine.can_raise_limits is None:
        text = f"whether {engine.name} may raise it is not known: its process cannot be seen from here"
        if not has_verbs(facts):
            return Finding(name=name, state="PASS", text=f"{text}; no RDMA device needs it")
        return Finding(name=name, state="UNKNOWN", text=text)
    else:
        limit = None if engine.can_raise_limits else engine.memlock
        text = f"{engine.name} gives containers {'any limit that is asked for' if limit is None else _size(limit)}"
        advice = f"raise the limit of the engine itself: LimitMEMLOCK=infinity for the service of {engine.name}"
    if limit is None:
        return Finding(name=name, state="PASS", text=text)
    is_root = not asked.in_container and facts.uid == 0
    if not has_verbs(facts) or is_root:
        why = "root may lock more (CAP_IPC_LOCK)" if is_root else "no RDMA device of this host needs more"
        return Finding(name=name, state="PASS", text=f"{text}; {why}")
    state: State = "WARN" if asked.transport == "sockets" or limit >= LEAST_MEMLOCK else "FAIL"
    text = f"{text}, and this host has RDMA devices, for which memory is locked"
    return Finding(name=name, state=state, text=text, advice=advice, source=_LOCKED_PAGE)


def _counted(name: str, flag: str, limit: Limit, good: int, source: str, *, free: bool = False) -> Finding:
    """`free`: this user is not held by the limit."""
    text = f"ulimit {flag} is {_number(limit.soft)} (at most {_number(limit.hard)}) in this shell"
    if limit.soft is None or limit.soft >= good or free:
        return Finding(name=name, state="PASS", text=text)
    advice = f"ulimit {flag} {min(limit.hard or 65536, 65536)} in this shell, or raise it in /etc/security/limits.conf"
    return Finding(name=name, state="WARN", text=f"{text}; {good} or more are wanted", advice=advice, source=source)


def _stack(limit: Limit) -> Finding:
    text = f"ulimit -s is {_size(limit.soft)} in this shell"
    if limit.soft is None or limit.soft >= _STACK_USUAL:
        return Finding(name="stack", state="PASS", text=text)
    advice = f"ulimit -s {_STACK_USUAL >> 10} in this shell: threads get their stacks by it"
    text = f"{text}, less than the usual {format_size(_STACK_USUAL)}"
    return Finding(name="stack", state="WARN", text=text, advice=advice, source=_STACK_PAGE)


def control_group(found: ControlGroup, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Limits that hold this shell, and with it a job of the process runtime."""
    tight = []
    if found.memory is not None and found.memory < _MOST_SHARE * facts.memory:
        tight.append(f"memory at most {format_size(found.memory)} of the host's {format_size(facts.memory)}")
    if found.pids is not None and found.pids < _PIDS_GOOD:
        tight.append(f"at most {found.pids} processes and threads")
    if found.cpus is not None and found.cpus < _MOST_SHARE * facts.cpus:
        tight.append(f"at most {found.cpus:.3g} of {facts.cpus} CPUs")
    name = "control group"
    if not tight:
        return [Finding(name=name, state="PASS", text="holds this shell below nothing that the host has")]
    advice = "ask the scheduler or the administrator for more, or start madrun outside of this session's limits"
    return [
        Finding(
            name=name,
            state="WARN",
            text=f"this shell has {'; '.join(tight)}",
            advice=advice,
            source=_GROUP_PAGE,
        )
    ]


def _size(size: int | None) -> str:
    return "unlimited" if size is None else format_size(size)


def _number(count: int | None) -> str:
    return "unlimited" if count is None else str(count)
