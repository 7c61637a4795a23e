"""A MAD repository, its cards, and their migration."""

import json

import pytest

from madrun.registry.catalogue import load
from madrun.registry.migrate.migration import migrate

HEADER = "# CONTEXT {{'gpu_vendor': '{}', 'guest_os': 'UBUNTU'}}\nFROM base\n"


class Checkout:
    def __init__(self, folder):
        self.folder = folder / "mad"
        self.target = folder / "native"
        self.write("docker/a.ubuntu.amd.Dockerfile", HEADER.format("AMD"))
        self.write("scripts/a/run.sh", 'echo "performance: $1 tok"\n')
        self.cards({})

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def cards(self, *changes):
        base = {"name": "a", "dockerfile": "docker/a", "scripts": "scripts/a/run.sh", "n_gpus": "-1", "args": ""}
        entries = [base | {"tags": ["t"]} | change for change in changes]
        self.write("models.json", json.dumps(entries))

    def migrate(self):
        catalogue = load(self.folder)
        assert catalogue.broken == ()
        return migrate(catalogue.cards, self.folder, self.target)

    def native(self):
        """The cards of the new repository, by name."""
        catalogue = load(self.target)
        assert catalogue.broken == ()
        return {card.name: card for card in catalogue.cards}


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path.resolve())
