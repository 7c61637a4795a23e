"""The state of NVIDIA GPUs by `nvidia-smi -q -x`: one start of the tool for everything.

Format: nvidia-smi(1) and the document type that the output names (nvsmi_device_v*.dtd, `nvidia-smi --dtd`). Names that
changed are read in both forms: clocks_throttle_reasons became clocks_event_reasons, power_readings became
gpu_power_readings, `Not Active` is the opposite of `Active`.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from madrun.probe.accelerator.published import pci_address
from madrun.probe.health import people
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import GpuProcess, GpuState, HostGpus

ARGV = ("nvidia-smi", "-q", "-x")
_NUMBER = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?)(?: (W|MiB))?")
_POWER = ("gpu_power_readings", "power_readings")
_PENDING = ("remapped_rows/remapped_row_pending", "retired_pages/pending_retirement", "retired_pages/pending_blacklist")
_REASONS = ("clocks_event_reasons", "clocks_throttle_reasons")
_NOT_ALL = "none is shown, and in a container the tool shows none of the host or of others: look on the host"
# Reasons that say nothing against the host: it idles, or somebody chose the clock.
_HARMLESS = ("gpu_idle", "applications_clocks_setting", "clocks_setting", "sync_boost", "display_clocks_setting")


def gpus(source: Source) -> HostGpus:
    """All GPUs that the tool lists, in its order; `Unreadable` where there is none of them."""
    text = source.tool(*ARGV)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        said = (text.strip().splitlines() or ["nothing"])[0][:200]
        raise Unreadable(f"{' '.join(ARGV)} did not print its XML: {said}") from None
    found = root.findall("gpu")
    if not found:
        raise Unreadable(f"{' '.join(ARGV)} listed no GPU")
    unread = {} if people.sees_all(source) else {"processes": _NOT_ALL}
    return HostGpus(gpus=tuple(_state(source, index, gpu) for index, gpu in enumerate(found)), unread=unread)


def _state(source: Source, index: int, gpu: ElementTree.Element) -> GpuState:
    power = next((part for name in _POWER if (part := gpu.find(name)) is not None), gpu)
    volatile = gpu.find("ecc_errors/volatile")
    return GpuState(
        label=f"GPU {index}",
        bus=pci_address(gpu.get("id") or ""),
        memory_used=_bytes(gpu, "fb_memory_usage/used"),
        memory_total=_bytes(gpu, "fb_memory_usage/total"),
        power_limit=_first(power, "current_power_limit", "power_limit", "enforced_power_limit"),
        power_default=_first(power, "default_power_limit"),
        persistent=_enabled(gpu, "persistence_mode"),
        ecc=_enabled(gpu, "ecc_mode/current_ecc"),
        uncorrected=_errors(volatile, "uncorrectable", "double_bit"),
        corrected=_errors(volatile, "correctable", "single_bit"),
        pending=_any_yes(gpu, *_PENDING),
        unrepairable=_any_yes(gpu, "remapped_rows/remapped_row_failure"),
        slowed=_slowed(gpu),
        fabric=_fabric(gpu),
        processes=_processes(source, gpu),
    )


def _text(gpu: ElementTree.Element, path: str) -> str:
    return (gpu.findtext(path) or "").strip()


def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text.strip())
    return float(match[1]) if match else None


def _first(part: ElementTree.Element, *names: str) -> float | None:
    values = (_number(_text(part, name)) for name in names)
    return next((value for value in values if value is not None), None)


def _bytes(gpu: ElementTree.Element, path: str) -> int | None:
    match = _NUMBER.fullmatch(_text(gpu, path))
    return int(float(match[1])) << 20 if match and match[2] == "MiB" else None


def _enabled(gpu: ElementTree.Element, path: str) -> bool | None:
    return {"Enabled": True, "Disabled": False}.get(_text(gpu, path))


def _any_yes(gpu: ElementTree.Element, *paths: str) -> bool | None:
    """Yes where one of them says so; None where none of them says anything."""
    known = [word == "Yes" for word in (_text(gpu, path) for path in paths) if word in ("Yes", "No")]
    return any(known) if known else None


def _errors(volatile: ElementTree.Element | None, *words: str) -> int | None:
    """The sum of these counters: Ampere and later name memory kinds, older ones `double_bit/total`."""
    if volatile is None:
        return None
    total = _number(_text(volatile, f"{words[1]}/total"))
    if total is not None:
        return int(total)
    counted = [_number(part.text or "") for part in volatile if re.search(rf"_{words[0]}(_|$)", part.tag)]
    known = [int(value) for value in counted if value is not None]
    return sum(known) if known else None


def _slowed(gpu: ElementTree.Element) -> tuple[str, ...] | None:
    part = next((found for name in _REASONS if (found := gpu.find(name)) is not None), None)
    if part is None:
        return None
    named = [(re.sub("^clocks_(event|throttle)_reasons?_", "", one.tag), (one.text or "").strip()) for one in part]
    known = [(name, word == "Active") for name, word in named if word in ("Active", "Not Active")]
    return tuple(name for name, active in known if active and name not in _HARMLESS) if known else None


def _fabric(gpu: ElementTree.Element) -> str:
    """State, and status where it is not Success: `Completed`, `In Progress`, `Completed, Insufficient Resources`."""
    words = [_text(gpu, f"fabric/{name}") for name in ("state", "status")]
    return ", ".join(word for word in words if word not in ("", "N/A", "Success"))


def _processes(source: Source, gpu: ElementTree.Element) -> tuple[GpuProcess, ...] | None:
    part = gpu.find("processes")
    if part is None or (part.text or "").strip() in ("N/A", "[N/A]"):
        return None
    found = tuple(
        _process(source, one, pid)
        for one in part.findall("process_info")
        if (pid := int(_number(_text(one, "pid")) or 0))
    )
    return found if found or people.sees_all(source) else None


def _process(source: Source, one: ElementTree.Element, pid: int) -> GpuProcess:
    _, owner, container = people.of_driver(source, pid)
    return GpuProcess(
        pid=pid,
        name=_text(one, "process_name").rpartition("/")[2],
        kind=_text(one, "type"),
        memory=_bytes(one, "used_memory"),
        owner=owner,
        container=container,
    )
