"""Rates and quantiles come from differences, and a difference across a restart means nothing."""

from __future__ import annotations

import pytest

from dashboard.alerts import Alerts
from dashboard.findings import RULES, View, evaluate
from dashboard.history import History
from dashboard.metrics import metrics_from_json, metrics_to_json, parse_metrics, quantile
from dashboard.snapshots import Failure, Link, Part, Snapshot, Want, is_stale


def scrape(paid: float, *, epoch: float = 1.0, extra: str = ""):  # type: ignore[no-untyped-def]
    return parse_metrics(
        f"# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {epoch}\n"
        f"# TYPE payd_paid_orders counter\npayd_paid_orders_total {paid}\n"
        f'# TYPE payd_http_requests counter\npayd_http_requests_total{{route="/x",status="5xx"}} {paid}\n{extra}'
    )


def test_a_rate_is_the_difference_over_the_time() -> None:
    """Ten more paid orders in sixty seconds are ten a minute."""
    history = History()
    history.add(scrape(5), 0.0)
    history.add(scrape(15), 60.0)

    lately = history.lately()

    assert lately is not None
    assert lately.paid_per_minute == pytest.approx(10.0)


def test_a_restart_is_a_gap_and_never_a_negative_rate() -> None:
    """Counters that began again give no rate, only the mark of a restart."""
    history = History()
    history.add(scrape(500), 0.0)
    history.add(scrape(510), 10.0)

    assert history.add(scrape(3, epoch=2.0), 20.0)

    assert history.points[-1].restarted
    assert history.points[-1].paid_per_minute is None
    assert history.restarted_at == 20.0
    assert history.lately() is None
    assert all(point.paid_per_minute is None or point.paid_per_minute >= 0 for point in history.points)


def test_a_counter_that_fell_without_a_restart_gives_no_rate_either() -> None:
    """Whatever the daemon says, no rate is below zero."""
    history = History()
    history.add(scrape(500), 0.0)
    history.add(scrape(3), 10.0)

    assert history.lately().paid_per_minute is None
    assert history.grown("paid") is None


def test_quantiles_interpolate_inside_the_bucket() -> None:
    """As Prometheus does it."""
    buckets = ((0.1, 50.0), (0.5, 100.0), (float("inf"), 100.0))

    assert quantile(0.5, (), buckets) == pytest.approx(0.1)
    assert quantile(0.75, (), buckets) == pytest.approx(0.3)
    assert quantile(0.5, buckets, buckets) is None
    assert quantile(0.99, (), ((0.1, 0.0), (float("inf"), 4.0))) == pytest.approx(0.1)
    assert quantile(0.5, ((0.1, 9.0),), ((0.1, 5.0),)) is None


def test_an_announced_family_without_samples_is_zero_and_an_absent_one_unknown() -> None:
    """Nothing happened yet is not the same as nobody knows."""
    metrics = scrape(1, extra="# TYPE payd_notifications counter\n")

    assert metrics.value("payd_notifications_total", result="applied") == 0.0
    assert metrics.value("payd_discrepancies_open") is None


def test_leaving_out_lines_changes_no_figure() -> None:
    """Creation times and empty buckets go; a gauge that merely sounds like one stays, and so do quantiles."""
    text = (
        "# TYPE payd_day_created_orders gauge\npayd_day_created_orders 6.0\n# TYPE payd_h histogram\n"
        'payd_h_bucket{le="0.1"} 0.0\npayd_h_bucket{le="0.5"} 4.0\npayd_h_bucket{le="+Inf"} 4.0\n'
        "payd_h_count 4.0\npayd_h_sum 1.0\npayd_h_created 1.7e+09\n# TYPE payd_q gauge\npayd_q 0.0\n"
    )

    metrics = parse_metrics(text)

    assert metrics.value("payd_day_created_orders") == 6.0
    assert metrics.samples["payd_q"] == {(): 0.0}
    assert "payd_h_created" not in metrics.samples
    assert metrics.buckets("payd_h") == ((0.5, 4.0), (float("inf"), 4.0))


def test_what_is_no_metrics_text_of_payd_is_refused() -> None:
    """Another program's page is not read as a silent payd."""
    for text in ("<html>", "", "# TYPE other gauge\nother 1\n", "payd_x{ 1"):
        with pytest.raises(ValueError):
            parse_metrics(text)


def test_metrics_survive_the_way_through_json() -> None:
    """What a recording holds is what was scraped."""
    metrics = scrape(7)

    again = metrics_from_json(metrics_to_json(metrics))

    assert (metrics.samples, metrics.families) == (again.samples, again.families)


def test_older_than_three_intervals_is_stale() -> None:
    """The bound is three intervals, whatever the interval."""
    assert not is_stale(100.0, 106.0, 2.0)
    assert is_stale(100.0, 106.1, 2.0)
    assert not is_stale(None, 106.1, 2.0)


GAUGES = {
    "discrepancies": "payd_discrepancies_open 1",
    "clock_skew": "payd_clock_skew_seconds -90",
    "storage_space": "payd_storage_free_bytes 1000",
    "key_days": "payd_platform_key_days_left 3",
    "loop_lag": "payd_loop_lag_seconds 0.5",
    "queue_deep": "payd_storage_queue_depth 900",
    "wal_large": "payd_storage_wal_bytes 90000000",
    "redis_down": "payd_redis_up 0",
    "payment_old": 'payd_oldest_open_timestamp_seconds{subject="payment"} 1000',
    "refund_old": 'payd_oldest_open_timestamp_seconds{subject="refund"} 1000',
    "webhook_late": "payd_webhook_oldest_pending_timestamp_seconds 1000",
    "reconcile_stalled": "payd_reconcile_last_success_timestamp_seconds 1000",
}


def found(metrics, history: History, **members):  # type: ignore[no-untyped-def]
    snapshot = Snapshot(at=100_000.0, link=members.pop("link", Link("up")), **members)
    return {finding.id for finding in evaluate(View(snapshot, metrics, history, 100_000.0))}


@pytest.mark.parametrize("rule", GAUGES)
def test_each_gauge_rule_fires_on_its_gauge_and_is_silent_without(rule: str) -> None:
    """A rule needs its figure; an unknown figure is no alarm."""
    history = History()
    quiet = scrape(0, epoch=99_990.0)
    loud = scrape(0, epoch=1.0, extra=f"# TYPE x gauge\n{GAUGES[rule]}\n")

    assert rule not in found(quiet, history)
    assert rule not in found(None, history)
    assert rule in found(loud, history)


def test_the_rules_about_the_line_and_the_last_minute_fire() -> None:
    """Lost, not ready, refused, failing, slow, restarted: each has its rule."""
    history = History()
    buckets = "# TYPE payd_wechat_request_duration_seconds histogram\n" + "".join(
        f'payd_wechat_request_duration_seconds_bucket{{operation="query",le="{bound}"}} @\n'
        for bound in ("5.0", "+Inf")
    )
    words = (
        "# TYPE payd_wechat_requests counter\n"
        'payd_wechat_requests_total{operation="query",outcome="unknown"} @\n'
        "# TYPE payd_notifications counter\n"
        'payd_notifications_total{result="signature_invalid"} @\n'
    )
    for number, at in ((0, 99_970.0), (9, 99_990.0)):
        history.add(scrape(number, extra=(buckets + words).replace("@", str(number))), at)
    history.restarted_at = 99_995.0
    want = Want("orders", "/pay/orders")
    refused = {"orders": Part(want, failure=Failure("unauthorized", status=401))}
    ready = Part(want, {"status": "not_ready", "checks": {"storage": "failed\x1b[2J"}}, 1.0)

    ids = found(scrape(9), history, link=Link("lost"), parts=refused, ready=ready)

    assert {
        "daemon_lost",
        "not_ready",
        "key_refused",
        "server_errors",
        "wechat_unclear",
        "wechat_slow",
        "forged",
        "restarted",
    } <= ids


def test_every_rule_is_known_by_one_name() -> None:
    """Ids are unique, and alerts are kept by them."""
    assert len({rule.id for rule in RULES}) == len(RULES)


def test_an_alert_begins_is_acknowledged_and_ends() -> None:
    """Alerts have a life of their own; acknowledging takes them out of the count, not out of the list."""
    alerts, history = Alerts(), History()
    firing = evaluate(View(Snapshot(link=Link("lost")), None, history, 5.0))

    began, _ = alerts.update(firing, 5.0)
    alerts.acknowledge(began[0].key)

    assert alerts.unacknowledged == ()
    assert [finding.id for finding in alerts.attention] == ["daemon_lost"]
    _, ended = alerts.update((), 9.0)
    assert [(alert.began_at, alert.ended_at) for alert in ended] == [(5.0, 9.0)]
    assert alerts.attention == ()
    assert len(alerts.all) == 1
