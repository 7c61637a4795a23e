"""`madrun doctor`: looks at this node, at all nodes together and into the image; measures and records nothing."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace

from madrun.cli.answer import write_out
from madrun.cli.colour import wanted
from madrun.cli.doctorfolder import visit_folder
from madrun.cli.doctorplan import DEFAULT_CARD, make_patient
from madrun.cli.doctortable import tables
from madrun.cli.options import RunOptions
from madrun.cli.request import make_request
from madrun.cli.screen import Screen
from madrun.cli.signals import catch_signals
from madrun.doctor.flow import examine
from madrun.doctor.report import Examination, document
from madrun.errors import ExitCode, UsageError
from madrun.node.task import Stopped
from madrun.spec.codec import to_json
from madrun.units import parse_duration

_JOIN_TIMEOUT = "60s"  # a run may wait for a queue; whoever asks the doctor stands beside it


def visit(options: RunOptions, brief: bool, as_json: bool) -> int:
    """The exit code: 0 without any FAIL, else 3; `UsageError` and `ContextError` only for what is typed wrongly."""
    limit_s = _limit(options.join_timeout)
    request = make_request(replace(options, tags=options.tags or [DEFAULT_CARD]))
    interrupt = catch_signals()
    screen = Screen(lambda: interrupt.count, out=2 if as_json else 1)
    screen.live = False
    try:
        screen.phase("look at this host")
        with visit_folder(request.results) as folder:
            found = examine(make_patient(request, folder), limit_s, interrupt, screen)
    except Stopped as stopped:
        screen.say(stopped.failure.text)
        return int(ExitCode.INTERRUPTED)
    finally:
        screen.close()
    return answer(found, brief, as_json)


def answer(found: Examination, brief: bool, as_json: bool) -> int:
    """Prints what was found; its exit code."""
    if as_json:
        return write_out(sys.stdout, to_json(document(found)), found.exit_code)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    text = "".join(f"{line}\n" for line in tables(found, brief, wanted(1), columns))
    return write_out(sys.stdout, text, found.exit_code)


def _limit(said: str | None) -> float:
    try:
        return parse_duration(said or _JOIN_TIMEOUT)
    except ValueError as error:
        raise UsageError(f"--join-timeout: {error}") from None
