"""What credential.json says, by key; values are secrets and stand in no plan, log, record or CSV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from madrun.errors import UsageError

NAS_NODES, AWS, MINIO, GITHUB = "NAS_NODES", "MAD_AWS_S3", "MAD_MINIO", "PUBLIC_GITHUB_ROCM_KEY"
SPECIAL = (NAS_NODES, AWS, MINIO, GITHUB)  # each may be a variable of the host that holds JSON
DOCKERHUB = "dockerhub"
# What of an entry says where something is, not how to get in: it may be shown.
_OPEN = ("NAME", "HOST", "PORT", "REPOSITORY", "SSH_KEY_FILE", "USERNAME", "USER", "REGION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The entries as read, where each was read, and why the file could not be; nobody may need what is missing.

    `entries` is not shown by `repr`: it must not get into a traceback or a log.
    """

    file: str = "credential.json"
    entries: Mapping[str, Any] = field(default_factory=dict, repr=False)
    origins: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def find(self, key: str) -> dict[str, str] | None:
        """The entry; None where there is none. `UsageError` where the file is broken or the entry is no object."""
        if key not in self.entries:
            if self.problem:
                raise UsageError(f"{self.problem} ({key} is needed from it)")
            return None
        return self._texts(key, self.entries[key])

    def get(self, key: str) -> dict[str, str]:
        """The entry as texts by name; `UsageError` where there is none, or what holds it cannot be read."""
        found = self.find(key)
        if found is None:
            known = ", ".join(sorted(self.entries)) or "nothing"
            hint = f", or set the variable {key} to its JSON" if key in SPECIAL else ""
            raise UsageError(f"{self.file}: no entry {key!r}; it has {known}; add it{hint}")
        return found

    def nas_nodes(self) -> list[dict[str, str]]:
        """The entries of NAS_NODES, one for each server; one object is taken for a list of one."""
        if NAS_NODES not in self.entries:
            self.get(NAS_NODES)
        value = self.entries[NAS_NODES]
        return [self._texts(NAS_NODES, node) for node in (value if isinstance(value, list) else [value])]

    def variables(self, cred: str) -> dict[str, str]:
        """`<cred>_<KEY>` for every key of the entry that a card names as its `cred`; nothing for an empty name."""
        return {f"{cred}_{name.upper()}": value for name, value in self.get(cred).items()} if cred else {}

    def secrets(self, key: str) -> dict[str, str]:
        """What of an entry must not be shown, by a name of its own: all but names, hosts, ports and addresses."""
        if key not in self.entries:
            return {}
        entries = self.nas_nodes() if key == NAS_NODES else [self.get(key)]
        return {
            f"{key}_{number}_{name}" if number else f"{key}_{name}": value
            for number, entry in enumerate(entries)
            for name, value in entry.items()
            if value and name.upper() not in _OPEN and "ENDPOINT" not in name.upper()
        }

    def _texts(self, key: str, value: Any) -> dict[str, str]:
        where = self.origins.get(key, self.file)
        if not isinstance(value, dict):
            raise UsageError(f"{where}: {key}: found {type(value).__name__}, allowed: an object of names and texts")
        for name, one in value.items():
            if isinstance(one, dict | list):
                raise UsageError(f"{where}: {key}.{name}: found {type(one).__name__}, allowed: text")
        return {str(name): _text(one) for name, one in value.items()}


def _text(value: Any) -> str:
    """JSON's other values as a shell would have them."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
