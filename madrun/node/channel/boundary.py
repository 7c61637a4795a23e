"""The boundary of the event loop: what goes wrong inside a step is told, and the loop goes on."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from madrun.node.channel.protocol import NotOurs


def guarded(step: Callable[[], None], found: Callable[[str], None]) -> None:
    """Takes the step; a defect is given to `found` as text. What is no message stays `NotOurs`."""
    try:
        step()
    except NotOurs:
        raise
    except Exception:
        found(traceback.format_exc())
