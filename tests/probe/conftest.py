"""What the tests of the probe begin with: a host's files in a folder, and recorded outputs of the vendors' tools."""

from pathlib import Path

import pytest
from host_tree import HostTree

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def host(tmp_path):
    return HostTree(tmp_path)


@pytest.fixture
def recorded():
    """Text of a recorded output, by its path under fixtures/."""
    return lambda path: (FIXTURES / path).read_text()
