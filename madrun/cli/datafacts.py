"""What data.json, the context and this host's credentials say of a card's data."""

from __future__ import annotations

import os
from pathlib import Path

from madrun.data.config import read_config
from madrun.data.sources import Found, Placing, find_sources
from madrun.probe.environment import user_folder
from madrun.registry.mad import credentials
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.credentials import Credentials


def data_of(card: Card, context: Context, config_file: str | None) -> Found:
    """Where each of the card's data lies on this host; `config_file`: another one than the repository's data.json."""
    repository = Path(card.repository)
    if not card.data:
        if config_file is not None:
            read_config(repository, config_file, {})  # a file that is named has to be one
        return Found()
    placing = Placing(
        cache=user_folder("cache"),
        mirror=context.force_mirror_local,
        by_others=context.multi_node_args.NNODES > 1 and not context.local_data,
    )
    config = read_config(repository, config_file, context.data)
    return find_sources(card.data, config, data_credentials(card.repository), placing)


def data_credentials(repository: str) -> Credentials:
    """What the providers of a repository may need; read anew for each use, and kept in no plan."""
    return credentials.read(Path(repository), os.environ)
