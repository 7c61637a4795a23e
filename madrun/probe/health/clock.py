"""Whether the kernel's clock is kept right: adjtimex(2) with nothing to change, as `timedatectl` asks too."""

from __future__ import annotations

import struct

from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import ClockState

# struct timex where long has 64 bits: modes, offset, freq, maxerror, esterror, status, ...; maxerror in microseconds
_TIMEX = struct.Struct("=I4xqqqqi4x")
_STA_UNSYNC = 0x40


def clock(source: Source) -> ClockState:
    """The state of the clock; `Unreadable` where the kernel may not be asked."""
    if struct.calcsize("l") != 8:
        raise Unreadable("adjtimex: its layout on this machine is not known")
    try:
        found = source.timex()
    except (OSError, AttributeError) as error:
        raise Unreadable(f"adjtimex: {getattr(error, 'strerror', None) or 'this system has none'}") from None
    if len(found) < _TIMEX.size:
        raise Unreadable("adjtimex: its answer is too short")
    _, _, _, largest, _, status = _TIMEX.unpack_from(found)
    if largest < 0 or status < 0:
        raise Unreadable(f"adjtimex: found a largest error of {largest} us")
    return ClockState(synchronised=not status & _STA_UNSYNC, largest_error=largest * 1e-6)
