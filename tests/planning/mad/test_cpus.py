"""docker_cpus: blanks do not matter, everything else is a list of CPUs or an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import ContextError
from madrun.planning.mad.cpus import cpu_list


@pytest.mark.parametrize(("text", "found"), [("0", "0"), (" 0 - 3 , 8 ", "0-3,8"), ("", ""), (None, "")])
def test_blanks_are_removed(text, found):
    assert cpu_list(text) == found


@pytest.mark.parametrize("text", ["a", "3-1", "0,,1", "-1", "0;1"])
def test_what_is_no_list_is_refused(text):
    with pytest.raises(ContextError, match="docker_cpus: found"):
        cpu_list(text)


@given(st.text(st.sampled_from("0129-, a"), max_size=10))
def test_any_text_is_a_list_or_an_error(text):
    try:
        found = cpu_list(text)
    except ContextError:
        return
    assert set(found) <= set("0123456789-,")
