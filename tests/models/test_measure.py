"""Summaries, merged checks and result lines."""

from __future__ import annotations

import math

import pytest


@pytest.fixture
def measure(load):
    return load("measure")


def test_percentiles_are_linear_between_order_statistics(measure):
    values = [4.0, 1.0, 3.0, 2.0]
    assert measure.percentile(values, 0) == 1.0
    assert measure.percentile(values, 50) == 2.5
    assert measure.percentile(values, 95) == pytest.approx(3.85)
    assert measure.percentile(values, 100) == 4.0


def test_percentile_of_nothing_is_an_error(measure):
    with pytest.raises(ValueError, match="empty"):
        measure.percentile([], 50)


def test_summary_is_not_moved_by_one_outlier(measure):
    summary = measure.summarize([10.0] * 99 + [1e6])
    assert (summary.n, summary.p50, summary.p95, summary.iqr) == (100, 10.0, 10.0, 0.0)
    assert summary.maximum == 1e6


def test_a_check_that_fails_on_one_rank_fails_and_names_the_rank(measure):
    good, bad = measure.Check("sum", True, "6", "6"), measure.Check("sum", False, "7", "6")
    merged = measure.merge_checks([[good], [good], [bad], [bad]])
    assert [str(check) for check in merged] == ["sum: found 7 [on 2 of 4 ranks (2, 3)], expected 6"]
    assert not merged[0].passed


def test_a_check_made_by_one_rank_only_still_counts(measure):
    merged = measure.merge_checks([[], [measure.Check("ledger", False, "1", "2")]])
    assert "FAILED ledger: found 1" in measure.failure_report(merged)


def test_no_failed_check_means_no_report(measure):
    assert measure.failure_report([measure.Check("a", True, "1", "1")]) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(2, "2"), (2.0, "2"), (1234.56789012, "1234.56789"), (1.5e-7, "1.5e-07"), (0.0, "0")]
)
def test_performance_lines_keep_nine_digits(measure, value, text):
    assert measure.performance_line(value, "x") == f"performance: {text} x"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_never_a_result(measure, value):
    with pytest.raises(ValueError, match="finite"):
        measure.performance_line(value, "x")
    assert not measure.metrics_are_finite({"good": 1.0, "x": value}).passed


def test_no_metric_at_all_is_no_result(measure):
    assert not measure.metrics_are_finite({}).passed


@pytest.mark.parametrize(
    ("device", "tflops"),
    [
        ("NVIDIA H200", 989.5),
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA GB200", 2500.0),
        ("NVIDIA B200", 2250.0),
        ("AMD Instinct MI300X", 1307.4),
        ("AMD Instinct MI355X", 2516.6),
        ("AMD Instinct MI300A", 980.6),
        ("AMD Instinct MI250X", 191.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA GH200 480GB", 989.5),
        ("NVIDIA L40S", 362.05),
    ],
)
def test_peaks_are_dense_and_those_of_the_part(load, device, tflops):
    assert load("peaks").find_peak(device).tflops == tflops


@pytest.mark.parametrize(
    "device",
    [
        "NVIDIA GeForce GT 710",
        "NVIDIA H20",  # not an H200
        "NVIDIA A100X",
        "NVIDIA H100",  # which of them is not said
        "AMD Instinct MI308X",
        "AMD Instinct MI250X / MI250",  # one PCI id for two products
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "",
    ],
)
def test_a_device_without_a_known_figure_has_no_peak(load, device):
    assert load("peaks").find_peak(device) is None


def test_a_partition_of_a_device_has_no_peak(load):
    find = load("peaks").find_peak
    assert find("AMD Instinct MI300X", 304).tflops == 1307.4
    assert find("AMD Instinct MI300X", 38) is None
    assert find("NVIDIA B300", 160).tflops == 2250.0  # its units are not listed, so they are not compared


def test_every_peak_names_its_source(load):
    peaks = [peak for _, peak in load("peaks").BF16_DENSE if peak is not None]
    assert len(peaks) >= 18
    assert all("data sheet" in peak.source and 100 < peak.tflops < 3000 for peak in peaks)
