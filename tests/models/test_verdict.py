"""Every check of the training card fails for its own reason, and the metrics follow their formulas."""

from __future__ import annotations

import dataclasses
import math

import pytest


@pytest.fixture
def verdict(load):
    return load("verdict")


def good_training(verdict):
    return verdict.Training(
        vocab=512,
        losses=[6.2, 5.0],
        mean_losses=[6.21, 5.1],
        grad_norms=[1.0, 0.5],
        probe_before=6.2,
        probe_after=5.0,
        changed=9,
        parameters=9,
        hashes=["aa", "aa"],
    )


def good_window(verdict):
    return verdict.Window(
        ranks=4,
        steps=20,
        tokens=80_000,
        wall_s=2.0,
        step_ms=[100.0] * 20,
        data_wait_s=0.02,
        alloc_retries=0,
        start_s=None,
        pace_ms=[10.0, 10.0, 11.0, 12.0],
        energy_j=None,
        save_s=[],
    )


def failed(checks) -> list[str]:
    return [check.name for check in checks if not check.passed]


def test_a_sound_run_passes_every_check(verdict):
    assert failed(verdict.check_training(good_training(verdict))) == []
    assert failed(verdict.check_window(good_window(verdict))) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"losses": [6.2, math.nan]}, "loss is finite"),
        ({"mean_losses": [6.6, 5.1]}, "first loss"),
        ({"mean_losses": [math.nan, 5.1]}, "first loss"),
        ({"probe_after": 6.2}, "loss on a fixed batch falls"),
        ({"probe_after": math.nan}, "loss on a fixed batch falls"),
        ({"grad_norms": [1.0, 0.0]}, "gradient norm"),
        ({"grad_norms": [1.0, math.inf]}, "gradient norm"),
        ({"changed": 8}, "parameters change in the first step"),
        ({"hashes": ["aa", "ab"]}, "parameters are equal on all ranks"),
    ],
)
def test_each_fault_of_the_training_fails_its_own_check(verdict, change, name):
    training = dataclasses.replace(good_training(verdict), **change)
    assert failed(verdict.check_training(training)) == [name]


@pytest.mark.parametrize(
    ("change", "name"),
    [({"steps": 9}, "enough measured steps"), ({"alloc_retries": 1}, "no allocator retry in the window")],
)
def test_each_fault_of_the_window_fails_its_own_check(verdict, change, name):
    assert failed(verdict.check_window(dataclasses.replace(good_window(verdict), **change))) == [name]


def test_counted_tokens_and_samples_must_be_the_planned_ones(verdict, load):
    ledger = load("data").Ledger(tokens=640, samples=10, fingerprint=5)
    assert failed(verdict.check_data(ledger, ledger, 640)) == []
    assert failed(verdict.check_data(ledger, ledger, 1280)) == ["tokens counted"]
    other = dataclasses.replace(ledger, fingerprint=6)
    assert failed(verdict.check_data(other, ledger, 640)) == ["every rank saw different data"]


def test_throughput_is_tokens_of_the_window_over_the_slowest_ranks_time(verdict, load):
    peak = load("peaks").Peak(1.0, "a test")
    cost = verdict.Cost(flops_per_token=1e7, flops_per_token_causal=8e6, peak=peak)
    metrics = verdict.throughput_metrics(good_window(verdict), cost)
    assert metrics["tokens_per_sec"] == 40_000
    assert metrics["tokens_per_sec_per_gpu"] == 10_000
    assert metrics["tflops_per_gpu"] == pytest.approx(0.1)
    assert metrics["mfu_pct"] == pytest.approx(10.0)
    assert metrics["mfu_causal_pct"] == pytest.approx(8.0)
    assert metrics["data_wait_pct"] == pytest.approx(1.0)


def test_without_a_known_peak_there_is_no_mfu_instead_of_a_zero(verdict):
    cost = verdict.Cost(flops_per_token=1e7, flops_per_token_causal=8e6, peak=None)
    assert not any("mfu" in name for name in verdict.throughput_metrics(good_window(verdict), cost))


def test_compile_time_is_what_the_start_took_beyond_a_steady_step(verdict):
    window = dataclasses.replace(good_window(verdict), start_s=12.1)
    cost = verdict.Cost(flops_per_token=1e7, flops_per_token_causal=8e6, peak=None)
    assert verdict.throughput_metrics(window, cost)["compile_s"] == pytest.approx(12.0)


def good_cost(verdict, load, **changes):
    cost = verdict.Cost(flops_per_token=1e7, flops_per_token_causal=8e6, peak=load("peaks").Peak(1.0, "a test"))
    return dataclasses.replace(cost, **changes)


def test_hardware_utilization_counts_what_is_done_twice(verdict, load):
    window = good_window(verdict)
    metrics = verdict.throughput_metrics(window, good_cost(verdict, load, recompute=3e6))
    assert metrics["hfu_pct"] == pytest.approx(13.0)
    assert metrics["mfu_pct"] == pytest.approx(10.0)
    assert "hfu_pct" not in verdict.throughput_metrics(window, good_cost(verdict, load, recompute=None))


def test_the_share_of_the_measured_rate_counts_causal_and_repeated_work(verdict, load):
    cost = good_cost(verdict, load, mamf_tflops=0.5, recompute_causal=2e6, peak=None)
    metrics = verdict.throughput_metrics(good_window(verdict), cost)
    assert metrics["mamf_pct"] == pytest.approx(20.0)
    assert "mamf_pct" not in verdict.throughput_metrics(good_window(verdict), good_cost(verdict, load))


@pytest.mark.parametrize(
    ("peak", "mamf", "names"), [(0.05, 1, ["mfu_pct", "mfu_causal_pct", "hfu_pct"]), (1, 0.05, ["mamf_pct"])]
)
def test_a_share_above_one_is_an_error_of_measurement(verdict, load, peak, mamf, names):
    cost = good_cost(verdict, load, peak=load("peaks").Peak(peak, "a test"), mamf_tflops=mamf)
    metrics = verdict.throughput_metrics(good_window(verdict), cost)
    assert failed(verdict.check_limits(metrics)) == [f"{name} is at most 100" for name in names]


def test_the_spread_of_ranks_is_that_of_their_own_pace(verdict, load):
    metrics = verdict.throughput_metrics(good_window(verdict), good_cost(verdict, load))
    assert metrics["rank_spread_pct"] == pytest.approx(100 * 2 / 10.5)
    alone = dataclasses.replace(good_window(verdict), ranks=1, pace_ms=[])
    assert "rank_spread_pct" not in verdict.throughput_metrics(alone, good_cost(verdict, load))


def test_energy_is_that_of_all_gpus_for_a_token_and_power_that_of_one(verdict, load):
    window = dataclasses.replace(good_window(verdict), energy_j=4000.0, save_s=[1.0, 3.0, 2.0])
    metrics = verdict.throughput_metrics(window, good_cost(verdict, load))
    assert metrics["energy_j_per_token"] == pytest.approx(0.05)
    assert metrics["avg_power_w"] == pytest.approx(500)
    assert metrics["checkpoint_s"] == 2.0
    unknown = verdict.throughput_metrics(good_window(verdict), good_cost(verdict, load))
    assert not {"energy_j_per_token", "avg_power_w", "checkpoint_s"} & set(unknown)
