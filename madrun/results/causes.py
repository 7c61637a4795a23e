"""Classes of failures: what a script's last lines and its exit code say about why it failed, and what to do then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from madrun.spec.record import LEASE_ENDED, UNCLASSIFIED, Failure, NodeOutcome

LINES = 200  # how many of the last lines are looked at: the tracebacks of eight ranks
_END = 4  # a message of a shell counts where it is among the very last lines

_NOT_THERE = "a file is not there: paths are those in the container; data must be named in the card to be mounted"
_FORBIDDEN = "the script may not read or write what it names: look at its owner and mode, and for a read-only mount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One class. It is recognized by a text anywhere in the last lines, by the exception that ended a rank, by what
    stands at the very end, or by an exit code; `collateral`: what happens to a rank when another one has ended.

    `survived`: programs mention it and go on. It counts where no other exception ended a rank after that.
    """

    kind: str
    advice: str
    said: str = ""
    raised: str = ""
    ends: str = ""
    codes: tuple[int, ...] = ()
    collateral: bool = False
    survived: bool = False


def _died(number: int) -> str:
    """How torchrun says that a rank was ended by this signal."""
    return rf"failed \(exitcode: -{number}\)"


TABLE = (
    Cause(
        kind="gpu-lost",
        said=r"uncorrectable ECC error|ERROR_ECC_UNCORRECTABLE|GPU has fallen off the bus|NVRM: Xid",
        advice="a GPU failed: look for Xid or RAS messages in the kernel log (dmesg), and take the GPU out of use",
    ),
    Cause(
        kind="gpu-oom",
        survived=True,
        said=r"\b(CUDA|HIP) out of memory|\bOutOfMemoryError: |CUDA_ERROR_OUT_OF_MEMORY|hipErrorOutOfMemory",
        advice="the model does not fit on the GPU: smaller batch, sharding or recomputation; "
        "telemetry.csv has the memory in use, and shows whether somebody else's process took it",
    ),
    Cause(
        kind="shared-memory",
        said=r"\b[Bb]us error\b|unable to allocate shared memory\(shm\)|insufficient shared memory|" + _died(7),
        codes=(128 + 7,),
        advice="/dev/shm was too small: raise shm_size in the context, or leave ipc at host",
    ),
    Cause(
        kind="disk-full",
        survived=True,
        said=r"No space left on device|\bENOSPC\b|Disk quota exceeded",
        advice="free space where the script writes: its working directory is below --results, /tmp in the container",
    ),
    Cause(
        kind="port-in-use",
        raised=r".*(\bEADDRINUSE\b|[Aa]ddress already in use)",
        ends=r"\bEADDRINUSE\b|[Aa]ddress already in use",
        advice="another process has the port: end it (ss -ltnp shows it) or name another MASTER_PORT",
    ),
    Cause(
        kind="import-error",
        raised=r"(ModuleNotFoundError|ImportError|OSError: .*cannot open shared object file)",
        ends=r"error while loading shared libraries: |cannot open shared object file",
        advice="the image lacks a package or library, or has one of another version: add it to the card's Dockerfile",
    ),
    Cause(
        kind="syntax-error",
        raised=r"(SyntaxError|IndentationError|TabError): ",
        advice="the script is no valid Python for the version in the image",
    ),
    Cause(
        kind="missing-file",
        raised=r"FileNotFoundError: ",
        said=r"can't open file '.*': \[Errno 2\]",
        advice=_NOT_THERE,
    ),
    Cause(
        kind="permission",
        raised=r"PermissionError: ",
        codes=(126,),
        advice=_FORBIDDEN,
    ),
    Cause(
        kind="oom",
        raised=r"MemoryError\b|RuntimeError: .*DefaultCPUAllocator: can't allocate memory",
        said=r"OSError: \[Errno 12\] Cannot allocate memory|fork: Cannot allocate memory",
        advice="the host had no memory to give: fewer data loader workers, a smaller batch, or a node with more memory",
    ),
    Cause(
        kind="segfault",
        said=_died(11),
        codes=(128 + 11,),
        ends="Segmentation fault",
        advice="a library crashed; run again with PYTHONFAULTHANDLER=1 to see where",
    ),
    Cause(
        kind="killed",
        said=_died(9),
        codes=(128 + 9,),
        ends=r"\bKilled\b",
        advice="something sent SIGKILL; if it was the kernel for want of memory, its log (dmesg) says so",
    ),
    Cause(
        kind="command-not-found",
        codes=(127,),
        ends=r"command not found",
        advice="the image lacks that program, or the script calls it by another name",
    ),
    Cause(
        kind="missing-file",
        ends=r"No such file or directory",
        advice=_NOT_THERE,
    ),
    Cause(
        kind="permission",
        ends=r"Permission denied",
        advice=_FORBIDDEN,
    ),
    Cause(
        kind="rendezvous",
        said=r"Timed out after \d+ seconds waiting for clients|client socket has timed out|RendezvousTimeoutError",
        raised=r"(torch\.distributed\.)?DistStoreError: ",
        advice="not all ranks met: look at the other nodes' consoles, and at MASTER_ADDR, MASTER_PORT and the firewall",
    ),
    Cause(
        kind="nccl-timeout",
        said=r"Watchdog caught collective operation timeout",
        advice="a collective did not end: one rank took another way through the code, hung or was slow; find the rank "
        "whose last collective differs, with TORCH_FR_BUFFER_SIZE or NCCL_DEBUG=INFO",
        collateral=True,
    ),
    Cause(
        kind="nccl-error",
        said=r"\bnccl(System|Internal|Remote|UnhandledCuda)Error\b",
        advice="the network between GPUs failed: run again with NCCL_DEBUG=INFO, and look at the chosen interface",
        collateral=True,
    ),
    Cause(
        kind="gloo-timeout",
        said=r"Timed out waiting \d+ms for (recv|send) operation",
        advice="a rank waited for another in vain: look for the rank that hung or was slow",
        collateral=True,
    ),
    Cause(
        kind="peer-lost",
        said=r"gloo/transport/.*Connection (closed|reset) by peer",
        raised=r"(torch\.distributed\.)?DistNetworkError: .*(closed|reset)",
        advice="another rank ended first: look for it in the other nodes' consoles and in ranks/",
        collateral=True,
    ),
)
_COLLATERAL = frozenset(cause.kind for cause in TABLE if cause.collateral)
_CLASSES = frozenset(cause.kind for cause in TABLE)
_LAUNCHER = "ChildFailedError"  # how torchrun ends when a rank has; the rank said more
_RANK = r"(?:\[rank(?P<rank>\d+)\]:\s*)"
_EXCEPTION = re.compile(rf"^{_RANK}?(?P<text>(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b.*)")


def classify(lines: Sequence[str], exit_code: int | None, oom_kills: int | None = None) -> Cause | None:
    """The first class of the table that fits a failed script; None where none does.

    What the kernel counted as killed for memory counts more than any word: those processes said nothing.
    """
    if oom_kills and not _fits(TABLE[1], lines, None):
        return out_of_memory(oom_kills)
    return next((cause for cause in TABLE if _fits(cause, lines, exit_code)), None)


def _fits(cause: Cause, lines: Sequence[str], exit_code: int | None) -> bool:
    if exit_code in cause.codes:
        return True
    if cause.said and any(re.search(cause.said, line) for line in _unsurvived(cause, lines)):
        return True
    if cause.ends and any(re.search(cause.ends, line) for line in lines[-_END:]):
        return True
    return bool(cause.raised) and any(
        re.match(rf"(\w+\.)*(?:{cause.raised})", text) for text in final_exceptions(lines)
    )


def _unsurvived(cause: Cause, lines: Sequence[str]) -> Sequence[str]:
    """The lines in which what is said tells of the end: all, or the last words of the ranks and what stands after."""
    finals = final_exceptions(lines) if cause.survived else []
    if not finals or any(_fits(other, finals, None) for other in TABLE if other.collateral):
        return lines  # of ranks without a name in their lines the last one speaks: it may be the victim of another
    first = min(place for place, line in enumerate(lines) if any(text in line for text in finals))
    return lines[first:]


def final_exceptions(lines: Sequence[str]) -> list[str]:
    """The last exception of each rank: one before it was caught, or led to it."""
    last: dict[str | None, str] = {}
    for line in lines:
        found = _EXCEPTION.match(line)
        if found is not None and _LAUNCHER not in found["text"]:
            last[found["rank"]] = found["text"]
    return list(last.values())


def out_of_memory(count: int) -> Cause:
    """The class of a run of which the kernel killed this many processes."""
    many = f"{count} process{'es' if count > 1 else ''}"
    advice = (
        f"the kernel killed {many} of this run for want of memory (oom_kill in its cgroup): fewer data loader workers, "
        "a smaller batch, a higher memory limit, or a node with more memory"
    )
    return Cause(kind="oom", advice=advice)


def refined(failure: Failure, cause: Cause | None, hint: str = "") -> Failure:
    """The failure of a script with its class, and with what to do; its first line stays what was told to all nodes."""
    more = [cause.advice] if cause is not None else []
    more += [hint] if hint else []
    kind = cause.kind if cause is not None else failure.kind
    return replace(failure, kind=kind, text="\n".join([failure.text, *more]))


def culprit(first: Failure, outcomes: Sequence[NodeOutcome]) -> Failure:
    """The failure that caused the others: as its own node tells it, and not one that only followed from another's.

    The first failure in time that was heard of may be that of a rank whose peer had died on another node.
    """
    told = {outcome.node: outcome.failure for outcome in outcomes if outcome.failure is not None}
    still = next((one for one in told.values() if one.text.startswith(LEASE_ENDED)), None)
    if first.kind == "node lost" and still is not None:
        return still  # a node that stood still has heard, when it went on, how the others had left it
    own = told.pop(first.node, None)
    if own is None or not own.text.startswith(first.text):
        own = first if own is None else replace(first, last_lines=own.last_lines)
    if own.kind not in _COLLATERAL:
        return own
    others = [one for one in told.values() if is_root(one) or one.kind == UNCLASSIFIED]
    return min(others, key=lambda one: not is_root(one), default=own)


def is_root(failure: Failure) -> bool:
    """Whether it is of a class that does not follow from another rank's end."""
    return failure.kind not in _COLLATERAL and failure.kind in _CLASSES
