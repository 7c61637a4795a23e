"""Where a rank stands, by what py-spy 0.4.3 printed of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.watching.stacks import main_frames, where

ACCEPT = """\
Process 25459: /usr/bin/python3 hang.py
Python v3.11.7 (/usr/bin/python3.11)

Thread 25507 (idle): "w"
    Condition.wait (threading.py:327)
    Event.wait (threading.py:629)
Thread 25459 (active): "MainThread"
    socket.accept (socket.py:294)
    step (hang.py:3)
    main (hang.py:7)
    <module> (hang.py:8)
"""
REDUCE = """\
Thread 9 (active): "MainThread"
    all_reduce (torch/distributed/distributed_c10d.py:3112)
    wrapper (torch/distributed/c10d_logger.py:83)
    step (/madrun/work/train.py:41)
    main (/madrun/work/train.py:60)
    <module> (/madrun/work/train.py:70)
"""


def test_the_innermost_call_of_the_card_is_named_with_what_it_called():
    assert where(ACCEPT, ("hang.py", "run.sh")) == "hang.py:3 step -> accept"
    assert where(REDUCE, ("train.py",)) == "train.py:41 step -> all_reduce"


def test_without_a_file_of_the_card_the_innermost_that_is_no_library_counts():
    assert where(ACCEPT, ()) == "hang.py:3 step -> accept"
    library = 'Thread 1 (idle): "MainThread"\n    select (selectors.py:415)\n    run (torch/elastic/api.py:9)\n'
    assert where(library, ()) == "selectors.py:415 select"


def test_the_main_thread_alone_is_looked_at():
    assert [frame.line for frame in main_frames(ACCEPT)] == ["294", "3", "7", "8"]


@pytest.mark.parametrize(
    "text", ["", "Error: Permission Denied: Try running again with elevated permissions", "Process 1: x\n"]
)
def test_a_refusal_is_no_stack(text):
    assert where(text, ()) == ""


@given(st.text(alphabet='Thread 1(idle):"Main\n .py<>', max_size=200))
def test_any_text_is_read(text):
    assert isinstance(where(text, ("a.py",)), str)
