"""What the tests of data share: means that listen, and a fetch of a local directory."""

import pytest

from madrun.data.work import Means
from madrun.spec.data import Fetch


@pytest.fixture
def told():
    """What a run was told while its data were fetched."""
    return []


@pytest.fixture
def means(told):
    """Makes means of a run, changed by keyword."""

    def make(**changes):
        return Means(**({"tell": told.append} | changes))

    return make


@pytest.fixture
def local():
    """Makes the ways to fetch a directory of this host."""

    def make(path):
        return (Fetch(provider="local", place=str(path)),)

    return make
