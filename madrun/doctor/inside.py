"""What `look.sh` has printed inside the image, as findings: what the job gets there, not what was asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from madrun.planning.inside import LEAST_MEMLOCK
from madrun.spec.finding import Finding
from madrun.units import format_size

MARK = "madrun-doctor "
_MB = 1 << 20
# NCCL maps a file of about 9.2 MiB in /dev/shm for each channel of a pair of ranks that has no other way.
SHM_FLOOR, SHM_OF_RANK, SHM_GOOD = 64 * _MB, 10 * _MB, 1024 * _MB
FILES_FLOOR, FILES_GOOD = 1024, 4096
_SHM_PAGE = "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html#shared-memory"
_FILES_PAGE = "https://docs.pytorch.org/docs/stable/multiprocessing.html#file-descriptor-file-descriptor"
_VERSIONS = {"cuda": "CUDA", "hip": "HIP", "nccl": "NCCL or RCCL", "gpus": "GPUs that it sees:"}
_GPUS_PAGE = "https://docs.pytorch.org/docs/stable/notes/cuda.html"
_IN_USE = 0.1  # of /dev/shm, from which on what is free counts and not its size


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What was seen inside, in bytes; None where it was not told, or is among the `unlimited`. `capable`: it may lock
    memory above its limit.
    """

    unlimited: frozenset[str] = frozenset()
    shm: int | None = None
    shm_free: int | None = None
    nofile: int | None = None
    memlock: int | None = None
    capable: bool = False
    rdma: tuple[str, ...] = ()
    python: str = ""
    torch: str = ""
    torch_error: str = ""
    gpus: int | None = None
    gpu_error: str = ""
    versions: tuple[str, ...] = ()


def read_look(lines: Iterable[str]) -> Inside:
    """Lines that are not the program's own are left out, and values that are no numbers count as not told."""
    values: dict[str, str] = {}
    rdma: list[str] = []
    for line in lines:
        if line.startswith(MARK):
            name, _, value = line.removeprefix(MARK).strip().partition(" ")
            if name == "rdma":
                rdma.append(value)
            elif value:
                values[name] = value
    shm, shm_free, memlock = (_kib(values.get(name)) for name in ("shm_kib", "shm_free_kib", "memlock_kib"))
    return Inside(
        unlimited=frozenset(name for name, value in values.items() if value == "unlimited"),
        shm=shm,
        shm_free=shm_free,
        nofile=_number(values.get("nofile")),
        memlock=memlock,
        capable=values.get("memlock_above") == "1",
        rdma=tuple(rdma),
        python=values.get("python", ""),
        torch=values.get("torch", ""),
        torch_error=values.get("torch_error", ""),
        gpus=_number(values.get("gpus")),
        gpu_error=values.get("gpu_error", ""),
        versions=tuple(f"{word} {values[name]}" for name, word in _VERSIONS.items() if name in values),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None


def _kib(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else number * 1024


def findings_of(inside: Inside, ranks: int, gpus: int = 0, place: str = "in the image") -> list[Finding]:
    """What a job of so many ranks on this node, which the plan gives so many GPUs, has to know of where it runs."""
    return [_shm(inside, ranks), _files(inside), _memlock(inside), _software(inside, gpus, place)]


def _shm(inside: Inside, ranks: int) -> Finding:
    name = "shm inside"
    if inside.shm is None:
        return Finding(
            name=name,
            state="UNKNOWN",
            text="the size of /dev/shm could not be read: no tmpfs, no df and no python3 tells it",
        )
    floor = max(SHM_FLOOR, SHM_OF_RANK * ranks)
    free = f", {format_size(inside.shm_free)} free" if inside.shm_free is not None else ""
    text = f"/dev/shm {format_size(inside.shm)}{free}, {ranks} rank{'s' if ranks > 1 else ''} here"
    is_filled = inside.shm_free is not None and inside.shm_free < (1 - _IN_USE) * inside.shm
    size = inside.shm_free if is_filled and inside.shm_free is not None else inside.shm
    if size >= SHM_GOOD:
        return Finding(name=name, state="PASS", text=text)
    advice = "set shm_size in the context to 1g or more, or leave it out (half of the memory), or 'ipc': 'host'"
    if is_filled and inside.shm >= SHM_GOOD:
        advice = "remove from /dev/shm what no process uses any more, or end what fills it"
    return Finding(
        name=name,
        state="FAIL" if size < floor else "WARN",
        text=f"{text}: less than {format_size(floor if size < floor else SHM_GOOD)}",
        advice=advice,
        source=_SHM_PAGE,
    )


def _files(inside: Inside) -> Finding:
    name = "open files inside"
    if "nofile" in inside.unlimited:
        return Finding(name=name, state="PASS", text="ulimit -n unlimited")
    if inside.nofile is None:
        return Finding(name=name, state="UNKNOWN", text="ulimit -n was not told")
    text = f"ulimit -n {inside.nofile}"
    if inside.nofile >= FILES_GOOD:
        return Finding(name=name, state="PASS", text=text)
    return Finding(
        name=name,
        state="FAIL" if inside.nofile < FILES_FLOOR else "WARN",
        text=f"{text}: each tensor that a data loader hands over and each peer of a rank holds one",
        advice=f"give 'nofile': 65536 in the context, or raise the engine's own limit above {FILES_GOOD}",
        source=_FILES_PAGE,
    )


def _memlock(inside: Inside) -> Finding:
    name = "locked memory inside"
    if "memlock_kib" in inside.unlimited:
        return Finding(name=name, state="PASS", text="ulimit -l unlimited")
    if inside.memlock is None:
        return Finding(name=name, state="UNKNOWN", text="ulimit -l was not told")
    text = f"ulimit -l {format_size(inside.memlock)}"
    if not inside.rdma:
        return Finding(name=name, state="PASS", text=f"{text}; no RDMA device inside needs more")
    if inside.capable:
        return Finding(name=name, state="PASS", text=f"{text}; CAP_IPC_LOCK stands above it")
    devices = ", ".join(inside.rdma[:4])
    return Finding(
        name=name,
        state="FAIL" if inside.memlock < LEAST_MEMLOCK else "WARN",
        text=f"{text}, and {devices} register memory by locking it",
        advice="leave 'memlock' at 'unlimited' in the context, and let the engine raise it",
        source=_SHM_PAGE,
    )


def _software(inside: Inside, gpus: int, place: str) -> Finding:
    name = "torch inside"
    if inside.torch:
        return _gpus(inside, gpus, Finding(name=name, state="PASS", text=_torch(inside)))
    if inside.torch_error:
        text, advice = f"import torch: {inside.torch_error}", f"mend it: `import torch` has to work {place}"
        return Finding(name=name, state="FAIL", text=text, advice=advice)
    what = f"python {inside.python} has no torch" if inside.python else "no python3 on PATH"
    advice = "nothing to do where the card needs none; else choose an image with it"
    return Finding(name=name, state="UNKNOWN", text=f"{what} {place}", advice=advice)


def _torch(inside: Inside) -> str:
    return ", ".join((f"torch {inside.torch}", *inside.versions))


def _gpus(inside: Inside, gpus: int, well: Finding) -> Finding:
    """A torch that sees no GPU computes on the CPU, and says so to nobody."""
    if not gpus or (not inside.gpu_error and (inside.gpus or 0) >= gpus):
        return well
    if inside.gpus is None and not inside.gpu_error:
        return replace(well, state="UNKNOWN", text=f"{well.text}; how many GPUs it sees was not told")
    why = f" ({inside.gpu_error})" if inside.gpu_error else ""
    return replace(
        well,
        state="WARN" if inside.gpus else "FAIL",
        text=f"{well.text}; the plan gives it {gpus} GPU{'s' if gpus > 1 else ''}{why}",
        advice="choose an image whose torch is built for these GPUs and this driver, and see that it gets the devices",
        source=_GPUS_PAGE,
    )


def lacks_torch(inside: Inside, gpus: int = 0, place: str = "in the image") -> str:
    """Why no all-reduce can be run there; empty where one can."""
    if inside.torch:
        return f"torch {place} sees no GPU" if gpus and not inside.gpus else ""
    if inside.torch_error:
        return f"torch cannot be imported {place}"
    return f"no torch {place}" if inside.python else f"no python3 {place}"
