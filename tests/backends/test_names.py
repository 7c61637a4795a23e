"""Names out of a launch's id."""

import re

from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.names import plain_name


def test_the_name_says_what_is_run(launch):
    assert plain_name(launch(id="20261121T000000Z-Llama_2.7b-a1b2c3")) == "madrun-20261121t000000z-llama-2-7b-a1b2c3"


@given(card=st.text(max_size=20))
def test_any_id_is_a_name_that_compose_and_skypilot_take(launch, card):
    name = plain_name(launch(id=f"20261121T000000Z-{card}-a1b2c3"))
    # Compose: [a-z0-9][a-z0-9_-]*; SkyPilot: [a-zA-Z]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?
    assert re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", name)
