"""Whatever the backend, a wrong key of its part of the context is told in one way."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from madrun.backends.settings import checked
from madrun.errors import ContextError


@dataclass(frozen=True)
class Two:
    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    count: int = 1
    name: str = ""


def test_each_wrong_key_has_its_part_in_front_and_a_line_of_its_own():
    with pytest.raises(ContextError) as told:
        checked(Two, "part", {"cuont": 2, "name": 3})
    lines = str(told.value).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["part.cuont", "part.name"]
    assert "did you mean 'count'?" in str(told.value)


def test_what_is_right_is_the_settings():
    assert checked(Two, "part", {"count": "2"}) == Two(count=2)
