"""scripts/simulate: long campaigns of the day in tests/simulation; a failure names the seed that repeats it."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import click

from payd.sandbox import prepare_directory
from tests.journeys.house import House
from tests.simulation.day import live_a_day, verify


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--orders", default=2000, show_default=True, help="Orders a day.")
@click.option("--days", default=1, show_default=True, help="Days, each with a seed and books of its own.")
@click.option("--seed", default=1, show_default=True, help="Seed of the first day.")
@click.option("--nuisance-rate", default=0.1, show_default=True, help="Share of requests and callbacks that go wrong.")
@click.option("--planted", default=7, show_default=True, help="Payments of a second till that the bill must find.")
@click.option("--keep", type=click.Path(path_type=Path), help="Work in this folder and leave it there.")
def main(orders: int, days: int, seed: int, nuisance_rate: float, planted: int, keep: Path | None) -> None:
    """Let a shop trade while everything goes wrong now and then, and look whether every fen is where it belongs."""
    folder = keep or Path(tempfile.mkdtemp(prefix="payd-simulate-"))
    for number in range(seed, seed + days):
        home = folder / f"day-{number}"
        home.mkdir(parents=True)
        prepare_directory(home / "sandbox")
        house = House(home, {"reconcile_interval_seconds": 1, "reconcile_batch_size": 500}).start()
        began = time.monotonic()
        try:
            day = live_a_day(
                house, seed=number, orders=orders, nuisance_rate=nuisance_rate, planted=planted,
                say=lambda text: click.echo(f"  {text}", err=True),
            )  # fmt: skip
        finally:
            house.stop()
        audit = verify(house)
        right = sorted(day.differences) == sorted(day.planted) and audit.returncode == 0
        click.echo(
            f"seed {number}: {orders} orders {day.statuses}, planted {len(day.planted)}, the bill found"
            f" {len(day.differences)}, verify {'clean' if audit.returncode == 0 else 'NOT clean'},"
            f" {time.monotonic() - began:.0f} s -> {'right' if right else 'WRONG'}"
        )
        if not right:
            click.echo(f"difference: {set(day.differences) ^ set(day.planted)}\n{audit.stdout}\nkept in {home}")
            sys.exit(1)
    if keep is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
