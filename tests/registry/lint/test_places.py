"""Lines of entries and keys in a models.json."""

import json

from hypothesis import given
from hypothesis import strategies as st

from madrun.registry.lint.places import entries

NAMES = st.text(max_size=8)
CARDS = st.lists(st.dictionaries(st.sampled_from(["name", "args", "data"]), NAMES, max_size=3), max_size=4)


@given(CARDS, st.sampled_from([None, 1, 4]))
def test_every_entry_is_found_with_its_values(cards, indent):
    text = json.dumps(cards, indent=indent)
    found = entries(text)
    assert [entry.values for entry in found] == cards
    for entry in found:
        for key in entry.values:
            assert f'"{key}"' in text.split("\n")[entry.line_of(key) - 1]


@given(st.text(alphabet='[]{},:"\\ \nname1') | st.text())
def test_no_text_makes_it_raise(text):
    assert all(entry.line_of("name") >= entry.line for entry in entries(text))


def test_what_is_before_the_fault_is_found():
    found = entries('[\n {"name": "a"},\n {"name": "b"')
    assert [(entry.name, entry.line) for entry in found] == [("a", 2)]
