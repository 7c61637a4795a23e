"""A MAD repository of one card, and what lint finds in it."""

import json

import pytest

from madrun.registry.catalogue import load
from madrun.registry.lint.inspection import inspect

HEADER = "# CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'UBUNTU'}\nFROM base\n"
GOOD = 'echo "performance: $(nproc) cores"\n'


class Checkout:
    def __init__(self, folder):
        self.folder = folder
        self.write("docker/a.ubuntu.amd.Dockerfile", HEADER)
        self.write("scripts/a/run.sh", GOOD)
        self.cards()

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    def cards(self, *changes):
        """models.json with a card for each map of changes, one key a line."""
        base = {"name": "a", "dockerfile": "docker/a", "scripts": "scripts/a/run.sh", "n_gpus": "-1", "args": ""}
        entries = [base | {"tags": ["t"]} | change for change in changes or ({},)]
        self.write("models.json", json.dumps(entries, indent=1))

    def inspect(self, *ignored):
        catalogue = load(self.folder)
        return inspect(self.folder, catalogue.cards, catalogue.broken, frozenset(ignored))

    def found(self):
        """Rule and place of every finding."""
        return [(finding.rule, f"{finding.file}:{finding.line}") for finding in self.inspect().findings]

    def rules(self):
        return [rule for rule, _ in self.found()]


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path.resolve())
