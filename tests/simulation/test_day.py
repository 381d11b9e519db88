"""A short day from a fixed seed; long ones: scripts/simulate."""

from __future__ import annotations

from tests.simulation.day import live_a_day, verify


def test_a_day_with_nuisances_adds_up_and_the_bill_finds_what_was_planted(make_house, tmp_path):
    """Whatever went wrong: no fen lost or doubled, the planted differences found and no others, the audit clean."""
    house = make_house(tmp_path, reconcile_interval_seconds=1, reconcile_batch_size=500).start()

    day = live_a_day(house, seed=1, orders=60, nuisance_rate=0.1, planted=3)
    code = house.stop()
    audit = verify(house)

    assert sorted(day.differences) == sorted(day.planted), f"seed {day.seed}"
    assert code == 0
    assert audit.returncode == 0, audit.stdout + audit.stderr
