"""What a container has to hold for RDMA: the driver looks before the barrier, and this reads what it reports.

Sources: rdma-core, Documentation/libibverbs.md (pinned memory needs `ulimit -l`, providers are plug-ins of libibverbs)
and ibv_devinfo(1); kernel, drivers/infiniband/core/umem.c (CAP_IPC_LOCK stands above the limit); getrlimit(2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from madrun.spec.fabric import Hca
from madrun.units import format_size

STEP, VARIABLE = "inside", "MADRUN_FABRIC"
NO_PROVIDER = "-"
# NCCL registers a buffer of 4 MiB (NCCL_BUFFSIZE) for each connection: of less than this not even 16 are possible.
LEAST_MEMLOCK = 64 << 20
UNLIMITED = -1
_PROVIDERS = {
    "mlx5_core": "mlx5",
    "mlx4_core": "mlx4",
    "bnxt_en": "bnxt_re",
    "bnxt_re": "bnxt_re",
    "ionic": "ionic",
    "ice": "irdma",
    "i40e": "irdma",
    "idpf": "irdma",
    "efa": "efa",
}
_BY_VENDOR = {"0x15b3": "mlx5", "0x14e4": "bnxt_re", "0x1dd8": "ionic", "0x8086": "irdma", "0x1d0f": "efa"}
_DECIMAL = re.compile(r"[0-9]{1,18}")

# Bash alone, for an image need not have more: words `name=value`, and no blank in any of them.
SCRIPT = r"""look_inside() {                                 # what RDMA needs of this container, in words
  local found="wanted=${MADRUN_FABRIC// /,} nofile=$(ulimit -n)" locked=$(ulimit -l) up= pid left=50
  local key value folder line file name shm= known= folders=()
  while read -r key value _; do
    [[ $key == CapEff: ]] && ((0x$value >> 14 & 1)) && locked=capable
  done </proc/self/status
  found+=" memlock=$locked"
  while read -r _ folder key value _; do
    [[ $folder == /dev/shm ]] || continue
    [[ $value =~ size=([0-9]+[kmg]?) ]] && shm=${BASH_REMATCH[1]} || shm=    # the last mount hides the others
  done </proc/mounts
  found+=" shm=$shm"
  for file in /dev/infiniband/uverbs*; do [[ -e $file ]] && { : <>"$file"; } && found+=" device=${file##*/}"; done
  IFS=: read -ra folders <<<"${LD_LIBRARY_PATH:-}"
  while read -r line; do [[ $line == /* ]] && folders+=("$line"); done < <(
    for file in /etc/ld.so.conf /etc/ld.so.conf.d/*.conf; do [[ -r $file ]] && echo "$(<"$file")"; done
  )
  folders+=(/usr/local/lib /lib64 /usr/lib64 /lib/*-linux-gnu /usr/lib/*-linux-gnu /lib /usr/lib)
  for name in libibverbs.so.1 librdmacm.so.1; do
    for folder in "${folders[@]}"; do
      [[ -n $folder && -e $folder/$name ]] && { found+=" library=$name"; continue 2; }
    done
    [[ -n $known ]] || known=$(hash ldconfig && ldconfig -p)
    [[ $known == *$'\t'"$name "* ]] && found+=" library=$name"
  done
  for name in $MADRUN_FABRIC; do
    for folder in "${folders[@]}"; do
      for file in "$folder"/libibverbs/lib"$name"-rdmav*.so "$folder"/lib"$name"-rdmav*.so; do
        [[ -e $file ]] && { found+=" provider=$name"; break 2; }
      done
    done
  done
  known=
  if hash ibv_devinfo; then
    ibv_devinfo >"$MADRUN_BOX/ibv_devinfo" 2>&1 </dev/null 8>&- 9>&- & pid=$!
    while ((left-- > 0)) && kill -0 "$pid"; do nap 0.1; done
    ((left >= 0)) || kill -KILL "$pid"
    wait "$pid"; found+=" devinfo=$?" name=
    IFS= read -r known <"$MADRUN_BOX/ibv_devinfo"
    while read -r key value _; do
      [[ $key == hca_id: ]] && name=${value//[![:alnum:]_.-]/}
      [[ $key == state: && $value == PORT_ACTIVE ]] && up+=" active=$name"
    done <"$MADRUN_BOX/ibv_devinfo"
  fi
  for name in NCCL_IB_DISABLE NCCL_NET; do
    value=${!name:-}
    found+=" $name=${value//[![:alnum:]_.-]/}"
  done
  known=${known//[![:print:]]/}
  say inside "$found$up said=${known:0:200}"
} 2>/dev/null
[[ -z ${MADRUN_FABRIC:-} ]] || look_inside"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What the driver saw; None or empty where it could not be seen.

    `memlock` in bytes, -1 = unlimited; `capable`: CAP_IPC_LOCK stands above it. `nofile`: open files; `shm`: bytes of
    /dev/shm. `devices`: those of /dev/infiniband that could be opened. `providers`: plug-ins of libibverbs that are
    there, of those that the adapters need, which are `wanted`. `devinfo`: exit code of ibv_devinfo, None where the
    image has none; `active`: adapters of which it saw an active port; `said`: its first line. `nccl`: variables that
    NCCL heeds.
    """

    memlock: int | None = None
    capable: bool = False
    nofile: int | None = None
    shm: int | None = None
    devices: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    devinfo: int | None = None
    active: tuple[str, ...] = ()
    said: str = ""
    nccl: tuple[tuple[str, str], ...] = ()


def providers(hcas: Iterable[Hca]) -> tuple[str, ...]:
    """The plug-ins of libibverbs that these adapters need, as rdma-core names them; of unknown adapters none."""
    names = (_PROVIDERS.get(hca.driver) or _BY_VENDOR.get(hca.vendor) for hca in hcas)
    return tuple(dict.fromkeys(name for name in names if name))


def wanted(hcas: Iterable[Hca]) -> str:
    """What MADRUN_FABRIC tells the driver to look for."""
    return " ".join(providers(hcas)) or NO_PROVIDER


def parse(text: str) -> Inside:
    """The driver's words; what is not among them, or is not of its form, is not known."""
    text, _, said = text.partition(" said=")
    words = [word.partition("=")[::2] for word in text.split()]
    values = dict(reversed(words))
    several: dict[str, tuple[str, ...]] = {
        key: tuple(value for name, value in words if name == key) for key in ("device", "library", "provider", "active")
    }
    memlock = values.get("memlock", "")
    kib = _whole(memlock)
    return Inside(
        memlock=UNLIMITED if memlock in ("unlimited", "capable") else kib * 1024 if kib is not None else None,
        capable=memlock == "capable",
        nofile=UNLIMITED if values.get("nofile") == "unlimited" else _whole(values.get("nofile", "")),
        shm=_size(values.get("shm", "")),
        devices=several["device"],
        libraries=several["library"],
        wanted=tuple(name for name in values.get("wanted", "").split(",") if name not in ("", NO_PROVIDER)),
        providers=several["provider"],
        devinfo=_whole(values.get("devinfo", "")),
        active=several["active"],
        said=said.strip(),
        nccl=tuple((name, values[name]) for name in ("NCCL_IB_DISABLE", "NCCL_NET") if values.get(name)),
    )


def _whole(text: str) -> int | None:
    return int(text) if _DECIMAL.fullmatch(text) else None


def _size(text: str) -> int | None:
    """Bytes of a size as /proc/mounts says it: `67108864k`."""
    number = _whole(text.rstrip("kmg"))
    return None if number is None else number << {"k": 10, "m": 20, "g": 30}.get(text[-1:], 0)


def obstacles(inside: Inside) -> list[str]:
    """What keeps ranks in this container from RDMA, each with what to do; that of the engine first."""
    return [*_of_engine(inside), *_of_image(inside)]


def _of_engine(inside: Inside) -> list[str]:
    found = []
    if not inside.devices:
        text = "no /dev/infiniband/uverbs* can be opened; look at docker_drop, and at who owns the files on the host"
        found.append(text)
    if inside.memlock is not None and 0 <= inside.memlock < LEAST_MEMLOCK:
        text = (
            f"ulimit -l is {format_size(inside.memlock)}, and NCCL, RCCL and UCX pin more; give memlock unlimited in "
            "the context, and let the engine raise it (LimitMEMLOCK=infinity of dockerd, default-ulimits of its daemon)"
        )
        found.append(text)
    return found


def _of_image(inside: Inside) -> list[str]:
    texts = []
    if "libibverbs.so.1" not in inside.libraries:
        texts.append(
            "no libibverbs.so.1 in the library directories; install it (Debian: libibverbs1 ibverbs-providers)"
        )
    elif inside.devinfo == 0 and not inside.active:
        texts.append("ibv_devinfo sees no active port there, and on the host there is one; look at the device files")
    elif inside.devinfo:
        texts.append(
            f"ibv_devinfo fails with code {inside.devinfo} ({inside.said or 'without a word'}): this libibverbs cannot "
            "use the adapters of the host; install the provider that fits the host's driver"
        )
    for name, value in inside.nccl:
        if (name == "NCCL_IB_DISABLE" and value != "0") or (name == "NCCL_NET" and value.lower() == "socket"):
            texts.append(f"{name}={value} stands in the environment and turns RDMA off; set {name} in docker_env_vars")
    return texts


def doubts(inside: Inside) -> list[str]:
    """What may keep them from it: the plug-ins may also lie where only libibverbs looks."""
    missing = [name for name in inside.wanted if name not in inside.providers]
    if not missing or inside.active or "libibverbs.so.1" not in inside.libraries:
        return []
    names = ", ".join(f"lib{name}-rdmav*.so" for name in missing)
    return [
        f"{names} not found in the library directories; where RDMA is not used: install ibverbs-providers, or what the "
        "vendor of the adapter gives"
    ]


def describe(inside: Inside) -> str:
    """All of it in one line; what is not known is said to be so."""
    limit, files, shm = (
        "not known" if value is None else "unlimited" if value < 0 else shown(value)
        for value, shown in ((inside.memlock, format_size), (inside.nofile, str), (inside.shm, format_size))
    )
    devinfo = "absent" if inside.devinfo is None else f"code {inside.devinfo}, active {_listed(inside.active)}"
    return (
        f"memlock {limit}{' (CAP_IPC_LOCK)' if inside.capable else ''}, nofile {files}, "
        f"/dev/shm {shm}, devices {_listed(inside.devices)}, libraries {_listed(inside.libraries)}, "
        f"providers {_listed(inside.providers)}, ibv_devinfo {devinfo}"
    )


def _listed(names: tuple[str, ...]) -> str:
    return " ".join(dict.fromkeys(names)) or "none"
