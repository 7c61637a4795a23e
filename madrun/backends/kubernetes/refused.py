"""What the API of a cluster answers when it does not do what it is asked, in words."""

from __future__ import annotations

import json
from typing import Any

from madrun.errors import ContextError, MadrunError, UsageError


class Gone(UsageError):
    """There is no such object."""


class Away(UsageError):
    """Nobody answers, or an answer broke off: it may be worth asking again."""


def refusal(what: str, namespace: str, status: int | None, body: Any, server: str) -> MadrunError:
    """The error for an answer of this HTTP status; `what`: verb and resource, `create jobs`."""
    message, reason, details = _told(body)
    where = f"--on kubernetes: namespace {namespace}: "
    if status in (408, 410, 429) or reason == "Expired" or (status or 0) >= 500:
        return Away(f"the API server {server} says to {what}: {status} {message}")
    if status == 403:
        return UsageError(where + _forbidden(what, message))
    if status == 404:
        return _missing(what, namespace, message, details)
    if status in (400, 422):
        return ContextError(f"{where}the cluster refuses to {what}: {message}")
    if status == 401:
        return UsageError(
            f"--on kubernetes: the API server {server} does not know this user (401 Unauthorized); log in again, as "
            "for kubectl get pods"
        )
    return UsageError(f"{where}{what}: {status} {message}")


def _forbidden(what: str, message: str) -> str:
    """Not every refusal is one of rights."""
    if "exceeded quota" in message:
        return f"{message}; wait until others have ended, or ask for less"
    if "being terminated" in message:
        return f"{message}; use another namespace"
    return (
        f"this user may not {what}: {message}; ask the cluster's administrator for a Role in this namespace that "
        "allows it"
    )


def _missing(what: str, namespace: str, message: str, details: dict[str, Any]) -> UsageError:
    if details.get("kind") == "namespaces":
        return UsageError(
            f"--namespace: found {namespace!r}, which the cluster does not have; see kubectl get namespaces"
        )
    if what.endswith("jobsets") and not details.get("name"):
        return UsageError("--jobset: the cluster has no JobSet controller; install it there, or leave --jobset out")
    return Gone(f"--on kubernetes: namespace {namespace}: {what}: {message}")


def _told(body: Any) -> tuple[str, str, dict[str, Any]]:
    """Message, reason and details of a Status object, or the text of whatever else came."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        status = json.loads(text)
        return str(status["message"]), str(status.get("reason") or ""), dict(status.get("details") or {})
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:500], "", {}
