"""What of a `run` command can be seen to be wrong before anything runs, and who hears of it."""

from __future__ import annotations

from madrun.cli.aftermath import check_summary
from madrun.cli.outputs import Outputs, outputs_of
from madrun.cli.place import meeting_of
from madrun.cli.prepare import Planned, Prepared
from madrun.cli.request import Request
from madrun.errors import UsageError
from madrun.spec.topology import Meeting


def part(meeting: Meeting, reason: str) -> None:
    """This node does not come: whoever waits for it is told."""
    from madrun.node.joining.farewell import farewell

    farewell(meeting, reason)


def checked(request: Request, prepared: Prepared, kept: list[tuple[Planned, str]]) -> Outputs:
    """Where the rows go. What is wrong with the words of this node alone is told to the others, who would wait."""
    try:
        check_summary(request)
        if kept:
            _check_keep_alive(kept)
        return outputs_of(request, prepared)
    except UsageError as error:
        for one in prepared.planned[:1]:
            part(meeting_of(one.context.multi_node_args, prepared.facts, one.card.name), str(error))
        raise


def _check_keep_alive(runs: list[tuple[Planned, str]]) -> None:
    """`UsageError` where there is no container to keep, or something is to come after it."""
    if len(runs) > 1:
        raise UsageError(
            f"--keep-alive: found {len(runs)} runs, and each would wait for Ctrl-C before the next; "
            "allowed: one card, without --repeat"
        )
    if not runs[0][0].plan.job.in_container:
        raise UsageError(
            "--keep-alive: found runtime process, which has no container to enter: the script ran on this host "
            "itself, and what it made is kept in the run directory; allowed: runtime docker or podman"
        )
