"""What `exact` promises, on a device that moves scores as GPUs were seen to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from misfired.errors import ScoringError
from misfired.scoring.llama.invariance import TOLERANCE, share_bound
from simulated_device import Device, Simulation

SHARES = st.sampled_from([0.0, 0.01, 0.03, 0.3, 1.0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), share_packed=SHARES, share_solo=SHARES)
def test_exact_on_a_gpu_never_ends_above_the_bound(
    seed: int, share_packed: float, share_solo: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        device = Device(share_packed=share_packed, share_solo=share_solo)
        simulation = Simulation(device, 300, seed)
        simulation.install(patch)
        answers, found, trial = simulation.run("exact", seed=seed)
    assert trial.packing == "fresh"
    assert simulation.largest(answers) <= TOLERANCE
    assert (found["bound"], found["max_difference"]) == (TOLERANCE, 0.0)


def test_a_choice_by_trial_alone_fails_there() -> None:
    """The former rule: `solo`, if 24 prompts agree; what the check finds afterwards changes nothing."""
    failed = 0
    for seed in range(30):
        simulation = Simulation(Device(), 300, seed)
        rows = range(0, 300, 300 // 24)
        apart = [simulation.off["solo"][row] for row in rows]
        failed += max(apart) <= TOLERANCE < simulation.off["solo"].max()
    assert failed > 5


def test_where_the_check_finds_a_difference_every_answer_is_scored_again(monkeypatch) -> None:
    """A device that nobody knows to be a GPU: the sample decides, and what it says is true."""
    n_wrong = n_rescored = 0
    device = Device(share_packed=0.06, share_solo=0.0, is_known_gpu=False)
    for seed in range(100):
        simulation = Simulation(device, 2200, seed)
        simulation.install(monkeypatch)
        answers, found, trial = simulation.run("exact", seed=seed)
        if trial.packing != "packed":
            continue
        assert found["n_checked"] == 59
        assert found["max_difference"] <= TOLERANCE
        n_rescored += found["n_rescored"] > 0
        if found["n_rescored"]:
            assert simulation.largest(answers) <= TOLERANCE
        share = np.mean(np.abs(answers["logit_diff"].to_numpy() - simulation.truth) > TOLERANCE)
        n_wrong += share > found["share_off"]
    assert n_rescored > 10
    # At 95 % confidence a bound may be wrong in 5 % of the runs; 5 of 100 and three deviations.
    assert n_wrong <= 11


def test_a_device_that_does_not_repeat_itself_is_refused(monkeypatch) -> None:
    simulation = Simulation(Device(is_noisy=True), 100, 0)
    simulation.install(monkeypatch)
    with pytest.raises(ScoringError, match=r"the same each time .* of 2 differ, by up to"):
        simulation.run("exact")


def test_noise_covers_most_of_what_flips(monkeypatch) -> None:
    n_flips = n_covered = 0
    for seed in range(20):
        simulation = Simulation(Device(), 2000, seed)
        simulation.install(monkeypatch)
        answers, found, trial = simulation.run("stable", seed=seed)
        assert (trial.packing, found["bound"]) == ("stable", None)
        flips = np.sign(answers["logit_diff"].to_numpy()) != np.sign(simulation.truth)
        within = answers["logit_diff"].abs().to_numpy() <= found["noise"]
        assert found["n_within"] == within.sum()
        n_flips, n_covered = n_flips + flips.sum(), n_covered + (flips & within).sum()
    assert n_flips > 100
    assert n_covered >= 0.99 * n_flips


@pytest.mark.parametrize(("n", "n_checked"), [(59, 59), (200, 59), (1000, 16), (30, 1), (7, 0)])
def test_the_share_is_that_of_the_hypergeometric_distribution(n: int, n_checked: int) -> None:
    largest = max(k for k in range(n + 1) if hypergeom.pmf(0, n, k, n_checked) > 0.05 or k == 0)
    assert share_bound(n, n_checked) == largest / n
