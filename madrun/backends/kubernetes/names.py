"""Names of the objects of a launch, as the API takes them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

LABEL = "madrun/launch"  # on every object of a launch: what is listed and deleted by
CONTAINER, REPLICATED = "madrun", "nodes"
_LONGEST = 63  # RFC 1123 label
_HASH = 6


def object_name(launch_id: str, nnodes: int, jobset: bool = False) -> str:
    """An RFC 1123 label out of a launch id; short enough that a pod's host name (`NAME-INDEX`) is one too.

    The pod's own name adds five letters to it, which is the limit that counts.
    """
    tail = len(f"-{nnodes - 1}-00000") + (len(f"-{REPLICATED}-0") if jobset else 0)
    text = re.sub(r"[^a-z0-9]+", "-", launch_id.lower()).strip("-") or "launch"
    text = text if text[0].isalpha() else f"m{text}"  # a Service's name starts with a letter (RFC 1035)
    longest = _LONGEST - tail
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(launch_id.encode()).hexdigest()[:_HASH]
    return f"{text[: longest - _HASH - 1].strip('-')}-{digest}"


@dataclass(frozen=True, slots=True)
class Names:
    """`job`: of the Job or JobSet; `host`: of a pod, without its index."""

    job: str
    host: str

    @property
    def service(self) -> str:
        """The headless Service; a JobSet makes one of its own name."""
        return self.job

    def master(self, namespace: str) -> str:
        """Host name of node 0; the namespace may be a variable that the pod expands."""
        return f"{self.host}-0.{self.service}.{namespace}.svc"

    @property
    def kind(self) -> str:
        """Of the object that owns all others."""
        return "Job" if self.host == self.job else "JobSet"

    @property
    def told_of(self) -> tuple[str, ...]:
        """The objects whose events tell why pods are not made: a JobSet's Job is one of its own."""
        return tuple(dict.fromkeys((self.job, self.host)))

    @property
    def selector(self) -> str:
        """Of all objects of the launch."""
        return f"{LABEL}={self.job}"


def names_of(launch_id: str, nnodes: int, jobset: bool) -> Names:
    """Those of one launch."""
    job = object_name(launch_id, nnodes, jobset)
    return Names(job, f"{job}-{REPLICATED}-0" if jobset else job)
