"""The providers of data.json in the order in which they are tried. One file each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from madrun.data.manifest import Expected
from madrun.data.providers import aws, custom, local, minio, nas
from madrun.data.work import Progress
from madrun.spec.credentials import Credentials
from madrun.spec.data import Fetch


class Provider(Protocol):
    """Its settings are those of data.json: `path`, and `args` of a script."""

    LIMIT_S: float

    def read(self, settings: Mapping[str, Any], repository: Path, credentials: Credentials) -> Fetch:
        """How to fetch the data; `Unreachable` with the reason where this host cannot, looked at without a network."""

    def fetch(self, fetch: Fetch, progress: Progress) -> dict[str, Expected]:
        """Fetches to `progress.data` what is not there yet; every file that has to be there, by name."""


PROVIDERS: dict[str, Provider] = {"custom": custom, "local": local, "minio": minio, "nas": nas, "aws": aws}
