"""What `nvidia-smi` prints: the table, `-L`, and `--query-gpu=... --format=csv`."""

from __future__ import annotations

import re
from dataclasses import replace

from madrun.probe.accelerator.published import pci_address
from madrun.spec.facts import Accelerator, Gpu, Partition

QUERY = (
    "nvidia-smi",
    "--query-gpu=index,uuid,name,memory.total,driver_version,compute_cap,mig.mode.current,pci.bus_id",
    "--format=csv",
)
TABLE = ("nvidia-smi",)
LIST = ("nvidia-smi", "-L")
NO_GPUS = "No devices were found"
_GPU = re.compile(r"GPU ([0-9]{1,4}): (.+) \(UUID: (GPU-[^)\s]+)\)\s*")
_MIG = re.compile(r"\s+MIG (\S+)\s+Device\s+[0-9]+: \(UUID: (MIG-[^)\s]+)\)\s*")


def parse_list(text: str) -> tuple[Gpu, ...]:
    """GPUs of `-L` with index, model, uuid and MIG devices; none where the text is something else."""
    gpus: list[Gpu] = []
    for line in text.splitlines():
        if match := _GPU.fullmatch(line):
            gpus.append(Gpu(index=int(match[1]), model=match[2], uuid=match[3]))
        elif (match := _MIG.fullmatch(line)) and gpus:
            part = Partition(name=match[1], uuid=match[2])
            gpus[-1] = replace(gpus[-1], partitions=(*gpus[-1].partitions, part))
    return tuple(gpus)


def parse_query(text: str) -> Accelerator:
    """GPUs and driver of a query with a header, whatever its columns; nothing where the text is something else."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    head = next((place for place, row in enumerate(rows) if {"name", "index"} & set(row)), None)
    if head is None:
        return Accelerator()
    columns = [re.sub(r" \[.*\]$", "", name) for name in rows[head]]
    whole = [dict(zip(columns, row, strict=True)) for row in rows[head + 1 :] if len(row) == len(columns)]
    gpus = tuple(_gpu(place, row) for place, row in enumerate(whole))
    drivers = [row["driver_version"] for row in whole if "driver_version" in row]
    return Accelerator(vendor="nvidia", gpus=gpus, driver=drivers[0] if drivers else "")


def cuda_version(table: str) -> str:
    """The highest CUDA that the driver supports, from the table's head; drivers since 610 call it `CUDA UMD`."""
    match = re.search(r"CUDA (?:UMD )?Version\s*: ([0-9]{1,3}\.[0-9]{1,3})\b", table)
    return match[1] if match else ""


def sm(capability: str) -> str:
    """Compute capability 9.0 as architecture: sm_90."""
    match = re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,2})", capability)
    return f"sm_{match[1]}{match[2]}" if match else ""


def _gpu(place: int, row: dict[str, str]) -> Gpu:
    index, memory = row.get("index", ""), re.fullmatch(r"([0-9]{1,12}) MiB", row.get("memory.total", ""))
    return Gpu(
        index=int(index) if re.fullmatch("[0-9]{1,4}", index) else place,
        model=row.get("name", ""),
        arch=sm(row.get("compute_cap", "")),
        uuid=uuid if (uuid := row.get("uuid", "")).startswith("GPU-") else "",
        bus=pci_address(row.get("pci.bus_id", "")),
        memory=int(memory[1]) << 20 if memory else 0,
        mig=row.get("mig.mode.current") == "Enabled",
    )
