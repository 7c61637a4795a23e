"""The state of the GPUs: who else uses them, errors, power, clocks. Of the GPUs that the run would use alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from madrun.doctor.asked import Asked
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding, State
from madrun.spec.health import GpuProcess, GpuState, HostGpus
from madrun.units import format_size

_PAGES = {
    ("nvidia", "processes"): "https://docs.nvidia.com/deploy/nvidia-smi/index.html (processes)",
    ("nvidia", "errors"): "https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/index.html",
    ("nvidia", "power"): "https://docs.nvidia.com/deploy/nvidia-smi/index.html (power limit)",
    ("nvidia", "clocks"): "https://docs.nvidia.com/deploy/nvidia-smi/index.html (clocks event reasons)",
    ("nvidia", "persistence"): "https://docs.nvidia.com/deploy/driver-persistence/index.html",
    ("amd", "processes"): "https://rocm.docs.amd.com/projects/amdsmi/en/latest/how-to/amdsmi-cli-tool.html (process)",
    ("amd", "errors"): "https://docs.kernel.org/gpu/amdgpu/ras.html",
    ("amd", "power"): "https://docs.kernel.org/gpu/amdgpu/thermal.html (power1_cap)",
    ("amd", "clocks"): "https://rocm.docs.amd.com/projects/amdsmi/en/latest/how-to/amdsmi-cli-tool.html (throttle)",
}
_FABRIC_PAGE = "https://docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide/index.html"
_FREE_BYTES, _FREE_SHARE = 1 << 30, 0.02  # what drivers hold for themselves is below that
_SMALL_POWER = 0.5  # watts: a cap is stored in whole ones
_SOFT = ("sw_power_cap", "ppt")  # the power cap itself, which a busy GPU reaches in its stride
_SHOWN = 6
Judge = Callable[[GpuState], "tuple[State, str] | None"]


def gpu_state(found: HostGpus, facts: HostFacts, asked: Asked) -> list[Finding]:
    """One finding for each kind of value, over all GPUs; None of a GPU is UNKNOWN, with what the reader said."""
    states = _wanted(found.gpus, facts, asked)
    vendor = facts.accelerator.vendor
    if not states:
        text = "those that the run would use are not among the listed ones"
        return [Finding(name="GPU state", state="UNKNOWN", text=text)]
    checks = [_processes, _memory, _errors, _power, _clocks, *([_persistence] if vendor == "nvidia" else [])]
    fabric = [_fabric(states)] if any(state.fabric for state in states) else []
    return [*(check(states, found.unread, vendor) for check in checks), *fabric]


def _wanted(states: Iterable[GpuState], facts: HostFacts, asked: Asked) -> list[GpuState]:
    """By PCI address without the function, which of a cut GPU counts its parts."""
    mine = {_slot(gpu.bus) for gpu in facts.accelerator.gpus if gpu.index in asked.gpus and gpu.bus}
    return [state for state in states if not mine or _slot(state.bus) in mine]


def _slot(bus: str) -> str:
    return bus.rpartition(".")[0]


def _unknown(name: str, without: list[GpuState], why: str) -> Finding:
    labels = ", ".join(state.label for state in without[:_SHOWN]) + (" ..." if len(without) > _SHOWN else "")
    return Finding(name=name, state="UNKNOWN", text=f"{labels}: {why or 'the driver does not say (N/A)'}")


def _processes(states: list[GpuState], unread: Mapping[str, str], vendor: str) -> Finding:
    """What computes on a GPU that is to be measured takes of its time; what only draws, of its memory."""
    name = "GPU processes"
    using = [(state, one) for state in states for one in state.processes or ()]
    without = [state for state in states if state.processes is None]
    if not using and without:
        return _unknown(name, without, unread.get("processes", ""))
    if not using:
        return Finding(name=name, state="PASS", text=f"none on {len(states)} GPU{'s' if len(states) > 1 else ''}")
    shown = "; ".join(f"{state.label}: {_process(one)}" for state, one in using[:_SHOWN])
    more = f"; and {len(using) - _SHOWN} more" if len(using) > _SHOWN else ""
    return Finding(
        name=name,
        state="WARN" if all(one.kind == "G" for _, one in using) else "FAIL",
        text=f"{shown}{more}",
        advice="wait until they are done, or let their owners end them (docker stop for those in a container)",
        source=_PAGES[vendor, "processes"],
    )


def _process(one: GpuProcess) -> str:
    owner = one.owner or "an owner that cannot be seen from here"
    memory = f", {format_size(one.memory)}" if one.memory is not None else ""
    place = f", container {one.container}" if one.container else ""
    return f"pid {one.pid} {one.name or '?'} of {owner}{memory}{place}"


def _memory(states: list[GpuState], unread: Mapping[str, str], vendor: str) -> Finding:
    def judge(state: GpuState) -> tuple[State, str] | None:
        if state.memory_used is None or state.memory_total is None:
            return None
        full = state.memory_used > max(_FREE_BYTES, _FREE_SHARE * state.memory_total)
        return (
            "WARN" if full else "PASS"
        ), f"{format_size(state.memory_used)} of {format_size(state.memory_total)} in use"

    advice = "wait for what holds it, or ask its owner; where no process is shown, look into containers and at others' "
    advice += "jobs first, and reset the GPU when it is nobody's"
    return _each("GPU memory", states, judge, unread.get("memory", ""), advice, _PAGES[vendor, "processes"])


def _errors(states: list[GpuState], unread: Mapping[str, str], vendor: str) -> Finding:
    advice = "do not measure with it; when nobody uses it, reset the GPU or boot the host, and run its diagnosis "
    advice += "(dcgmi diag, rvs)"
    return _each("GPU errors", states, _error, unread.get("errors", ""), advice, _PAGES[vendor, "errors"])


def _error(state: GpuState) -> tuple[State, str] | None:
    """Errors that could not be corrected, and repairs that are due, speak against a GPU; corrected ones do not."""
    bad = [
        *([f"{state.uncorrected} uncorrected memory errors"] if state.uncorrected else []),
        *(["a repair of its memory waits for a reset"] if state.pending else []),
        *(["a repair of its memory has failed"] if state.unrepairable else []),
    ]
    if bad:
        return "FAIL", ", ".join(bad)
    if state.ecc is False:
        return "WARN", "ECC is off: errors of its memory are not seen"
    if state.uncorrected is None:
        return None
    return "PASS", f"no uncorrected memory errors, {state.corrected if state.corrected is not None else '?'} corrected"


def _power(states: list[GpuState], unread: Mapping[str, str], vendor: str) -> Finding:
    def judge(state: GpuState) -> tuple[State, str] | None:
        if state.power_limit is None or state.power_default is None:
            return None
        low = state.power_limit < state.power_default - _SMALL_POWER
        text = f"{state.power_limit:.0f} W of {state.power_default:.0f} W by default"
        return ("WARN" if low else "PASS"), text

    advice = "as root: nvidia-smi -pl WATTS" if vendor == "nvidia" else "as root: amd-smi reset --power-cap"
    advice += "; or say the cap beside the result"
    return _each("GPU power cap", states, judge, unread.get("power", ""), advice, _PAGES[vendor, "power"])


def _clocks(states: list[GpuState], unread: Mapping[str, str], vendor: str) -> Finding:
    def judge(state: GpuState) -> tuple[State, str] | None:
        if state.slowed is None:
            return None
        hard = [word for word in state.slowed if word not in _SOFT]
        text = f"held down by {', '.join(state.slowed)}" if state.slowed else "not held down"
        return ("FAIL" if hard else "WARN" if state.slowed else "PASS"), text

    advice = "look at cooling, power supply and power cap: a GPU that is slowed down at rest is slower under load"
    return _each("GPU clocks", states, judge, unread.get("clocks", ""), advice, _PAGES[vendor, "clocks"])


def _persistence(states: list[GpuState], unread: Mapping[str, str], vendor: str) -> Finding:
    def judge(state: GpuState) -> tuple[State, str] | None:
        if state.persistent is None:
            return None
        return ("PASS", "on") if state.persistent else ("WARN", "off: the first use of the GPU takes seconds")

    advice = "start nvidia-persistenced, or as root: nvidia-smi -pm 1"
    source = _PAGES["nvidia", "persistence"]
    return _each("GPU persistence", states, judge, unread.get("persistence", ""), advice, source)


def _fabric(states: list[GpuState]) -> Finding:
    """GPUs behind NVSwitch start no CUDA program before the fabric manager has joined them."""

    def judge(state: GpuState) -> tuple[State, str] | None:
        return ("PASS" if state.fabric == "Completed" else "FAIL"), state.fabric or "not joined"

    advice = "start nvidia-fabricmanager of the driver's own version, and look at its log"
    return _each("GPU fabric", states, judge, "", advice, _FABRIC_PAGE)


def _each(name: str, states: list[GpuState], judge: Judge, why: str, advice: str, source: str) -> Finding:
    """The worst of all GPUs: those that FAIL or WARN are named, then those that do not say; else all PASS."""
    judged = [(state, judge(state)) for state in states]
    for level in ("FAIL", "WARN"):
        bad = [(state, found[1]) for state, found in judged if found is not None and found[0] == level]
        if bad:
            text = "; ".join(f"{state.label}: {words}" for state, words in bad[:_SHOWN])
            more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
            worst: State = "FAIL" if level == "FAIL" else "WARN"
            return Finding(name=name, state=worst, text=f"{text}{more}", advice=advice, source=source)
    without = [state for state, found in judged if found is None]
    if without:
        return _unknown(name, without, why)
    texts = list(dict.fromkeys(found[1] for _, found in judged if found is not None))
    shown = texts[0] if len(texts) == 1 else "; ".join(f"{state.label}: {found[1]}" for state, found in judged if found)
    return Finding(name=name, state="PASS", text=shown if len(shown) <= 200 else f"{shown[:197]}...")
