"""How the log of a MAD card is read: what the card says of error patterns, and what the context says over it."""

from __future__ import annotations

from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.mad import LogErrors


def log_rules(card: Card, context: Context) -> LogErrors | None:
    """The rules for the log; None for a native card, whose log is read for results alone.

    Patterns of the context stand in the place of the card's, benign ones are added to them.
    """
    if card.mad is None:
        return None
    said = card.mad.log_errors
    return LogErrors(
        scan=said.scan if context.log_error_pattern_scan is None else context.log_error_pattern_scan,
        patterns=said.patterns if context.log_error_patterns is None else context.log_error_patterns,
        benign=(*said.benign, *(context.log_error_benign_patterns or ())),
    )
