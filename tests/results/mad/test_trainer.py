"""The speed that Hugging Face's Trainer prints, for scripts that print no `performance:` line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results.mad.trainer import samples_of_trainer


def read(tmp_path, text):
    log = tmp_path / "console.log"
    log.write_text(text)
    return samples_of_trainer(log, 2)


@pytest.mark.parametrize(
    "line",
    [
        "{'train_runtime': 5.1, 'train_samples_per_second': 4.23, 'epoch': 1.0}",
        '"train_samples_per_second": 4.23',
        "  train_samples_per_second =       4.23",
    ],
)
def test_each_spelling_is_read(tmp_path, line):
    (sample,) = read(tmp_path, f"x\n{line}\n").samples
    assert (sample.metric, sample.text, sample.value) == ("samples_per_second", "4.23", 4.23)
    assert (sample.node, sample.source) == (2, "console.log:2")


@pytest.mark.parametrize(
    "line", ["train_samples_per_second: 1.2.3", "train_samples_per_second", "eval_samples_per_second = 3", "= 1e999"]
)
def test_what_is_no_number_is_none(tmp_path, line):
    assert read(tmp_path, f"{line}\n").samples == ()


def test_the_last_value_counts(tmp_path):
    (sample,) = read(tmp_path, "train_samples_per_second = 1\ntrain_samples_per_second = 2\n").samples
    assert (sample.text, sample.times, sample.differed) == ("2", 2, True)


@given(st.text(max_size=60))
def test_any_text_is_read_without_a_fault(tmp_path_factory, text):
    log = tmp_path_factory.mktemp("log") / "console.log"
    log.write_text(f"train_samples_per_second {text}", encoding="utf-8", errors="replace")
    samples_of_trainer(log, 0)
