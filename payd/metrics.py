"""Every metric payd exports, on its own registry. The only file (with the dashboard's parser) that imports the library.

Naming rule: ``payd_`` + what + base unit + ``_total`` on counters; the four ``pay_auth_*`` names are the contract's.
Label values are enums or route templates, created at start so that an alert can see zero; never a number of an order,
a key, an address or a person. Gauges that need the database are set by housekeeping, never during a scrape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from payd import __version__
from payd.models.evidence import Source
from payd.models.notification import NotificationResult
from payd.models.states import OrderState, PaymentState, RefundState
from payd.tallies import Spread, Tally

#: Anything else that calls itself a method is counted as one.
METHODS: Final = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"})
#: Around 5, 50, 250 ms, 1 s and WeChat's five seconds.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STATUS_CLASSES: Final = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
#: The content type of the plain text form, for the page of the auth counters alone.
TEXT_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
WECHAT_OPERATIONS: Final = (
    "prepay", "query", "close", "refund", "refund_query", "abnormal_refund", "bill", "download", "certificates", "echo",
)  # fmt: skip
WECHAT_OUTCOMES: Final = ("ok", "refused", "unknown")
COMMIT_OUTCOMES: Final = ("ok", "stale", "exists", "refused", "unavailable")
IDEMPOTENCY_OUTCOMES: Final = ("started", "replayed", "in_use", "reused", "resumed")
WEBHOOK_OUTCOMES: Final = ("ok", "failed", "dead")
RECONCILE_OUTCOMES: Final = ("ok", "error")
AUTH_REFUSALS: Final = {
    "missing_key": "Requests refused: no API key was sent",
    "invalid_key": "Requests refused: no configured API key matches",
    "scope_denied": "Requests refused: the API key lacks the scope",
    "not_configured": "Requests refused: payd has no API key configured",
}
STATES: Final = {"order": OrderState, "payment": PaymentState, "refund": RefundState}


class Metrics(Collector):
    """The process's instruments; built once by the daemon and handed to every part that counts."""

    def __init__(self, *, mode: str, routes: tuple[str, ...] = ()) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("payd_build_info", "Version and mode of this daemon", ["version", "mode"], registry=registry)
        build.labels(__version__, mode).set(1)
        self._http(registry, routes)
        self._money(registry)
        self._wechat(registry)
        self._storage(registry)
        self._work(registry)
        self._auth(registry)
        registry.register(self)

    def _http(self, registry: CollectorRegistry, routes: tuple[str, ...]) -> None:
        self.http_requests = Tally(
            "payd_http_requests_total",
            "HTTP requests answered, by route and status class",
            ("route", "method", "status"),
        )
        self.http_duration = Spread(
            "payd_http_request_duration_seconds", "Time to answer", ("route",), bounds=SECONDS,
            start=[(route,) for route in routes],
        )  # fmt: skip
        self.notifications = Tally(
            "payd_notifications_total", "WeChat's callbacks by verdict", ("result",),
            start=[(result.value,) for result in NotificationResult],
        )  # fmt: skip
        self.http_in_flight = Gauge("payd_http_requests_in_flight", "Requests being answered", registry=registry)

    def _money(self, registry: CollectorRegistry) -> None:
        self.transitions = Tally(
            "payd_transitions_total", "State changes by source", ("subject", "state", "source"),
            start=[(subject, state.value, source.value)
                   for subject, states in STATES.items() for state in states for source in Source],
        )  # fmt: skip
        self.orders = Gauge("payd_orders", "Orders by state", ["status"], registry=registry)
        self.refunds = Gauge("payd_refunds", "Refunds by state", ["status"], registry=registry)
        cny = [("CNY",)]
        self.paid_fen = Tally("payd_paid_amount_fen_total", "Money received, in fen", ("currency",), start=cny)
        self.refunded_fen = Tally("payd_refunded_amount_fen_total", "Money paid back, in fen", ("currency",), start=cny)
        self.paid_orders = Tally("payd_paid_orders_total", "Orders that were paid")
        self.day_created = Gauge("payd_day_created_orders", "Orders created today (Beijing day)", registry=registry)
        self.day_paid = Gauge("payd_day_paid_orders", "Orders paid today (Beijing day)", registry=registry)
        self.day_paid_fen = Gauge("payd_day_paid_amount_fen", "Fen received today (Beijing day)", registry=registry)
        self.day_refunded_fen = Gauge(
            "payd_day_refunded_amount_fen", "Fen paid back today (Beijing day)", registry=registry
        )
        self.discrepancies_open = Gauge("payd_discrepancies_open", "Contradictions waiting", registry=registry)

    def _wechat(self, registry: CollectorRegistry) -> None:
        self.wechat_requests = Tally(
            "payd_wechat_requests_total", "Calls to WeChat by outcome", ("operation", "outcome"),
            start=[(operation, outcome) for operation in WECHAT_OPERATIONS for outcome in WECHAT_OUTCOMES],
        )  # fmt: skip
        self.wechat_duration = Spread(
            "payd_wechat_request_duration_seconds", "Time of a call", ("operation",), bounds=SECONDS,
            start=[(operation,) for operation in WECHAT_OPERATIONS],
        )  # fmt: skip
        self.clock_skew = Gauge("payd_clock_skew_seconds", "WeChat's clock minus ours", registry=registry)
        self.key_days_left: Gauge | None = None

    def _storage(self, registry: CollectorRegistry) -> None:
        self.commits = Tally(
            "payd_storage_commits_total", "ChangeSets by outcome", ("outcome",),
            start=[(outcome,) for outcome in COMMIT_OUTCOMES],
        )  # fmt: skip
        self.commit_duration = Spread("payd_storage_commit_duration_seconds", "Time until on disk", bounds=SECONDS)
        self.commit_batch = Spread("payd_storage_batch_size", "ChangeSets in one fsync", bounds=BATCHES)
        self.queue_depth = Gauge("payd_storage_queue_depth", "ChangeSets waiting for the writer", registry=registry)
        self.wal_bytes = Gauge("payd_storage_wal_bytes", "Size of the write-ahead log", registry=registry)
        self.file_bytes = Gauge("payd_storage_file_bytes", "Size of the database", registry=registry)
        self.free_bytes = Gauge("payd_storage_free_bytes", "Space left on its disk", registry=registry)
        self.loop_lag = Gauge("payd_loop_lag_seconds", "How late the loop ran its last tick", registry=registry)

    def _work(self, registry: CollectorRegistry) -> None:
        self.oldest_open = Gauge(
            "payd_oldest_open_timestamp_seconds", "Creation of the oldest open one; 0 none", ["subject"],
            registry=registry,
        )  # fmt: skip
        for subject in ("payment", "refund"):
            self.oldest_open.labels(subject)
        self.idempotency = Counter(
            "payd_idempotency_total", "What became of an Idempotency-Key", ["outcome"], registry=registry
        )
        for outcome in IDEMPOTENCY_OUTCOMES:
            self.idempotency.labels(outcome)
        self.reconcile_runs = Counter(
            "payd_reconcile_runs_total", "Runs of the reconciler", ["outcome"], registry=registry
        )
        for outcome in RECONCILE_OUTCOMES:
            self.reconcile_runs.labels(outcome)
        self.reconcile_last_success = Gauge(
            "payd_reconcile_last_success_timestamp_seconds", "End of the last good run; 0 none", registry=registry
        )
        self.reconcile_backlog = Gauge("payd_reconcile_backlog", "Payments and refunds due", registry=registry)
        self.reconcile_corrections = Counter(
            "payd_reconcile_corrections_total", "States moved by asking", registry=registry
        )
        self.webhook_attempts = Counter(
            "payd_webhook_attempts_total", "Attempts to deliver a webhook", ["outcome"], registry=registry
        )
        for outcome in WEBHOOK_OUTCOMES:
            self.webhook_attempts.labels(outcome)
        self.webhook_backlog = Gauge("payd_webhook_backlog", "Deliveries pending", registry=registry)
        self.webhook_oldest = Gauge(
            "payd_webhook_oldest_pending_timestamp_seconds", "Oldest pending delivery; 0 none", registry=registry
        )
        self.worker_errors = Counter(
            "payd_worker_errors_total", "Runs of a worker that raised", ["worker"], registry=registry
        )

    def _auth(self, registry: CollectorRegistry) -> None:
        self.auth_refusals = {
            reason: Counter(f"pay_auth_{reason}_total", meaning, registry=registry)
            for reason, meaning in AUTH_REFUSALS.items()
        }
        self.key_requests = Tally(
            "payd_api_key_requests_total", "Requests admitted, by the short id of their API key", ("key_id",)
        )
        self.key_last_used = Gauge(
            "payd_api_key_last_used_timestamp_seconds", "When an API key was admitted last, by its short id",
            ["key_id"], registry=registry,
        )  # fmt: skip
        self.redis_up: Gauge | None = None

    def watch_redis(self) -> Gauge:
        """Add the Redis gauge: it exists only where Redis is configured."""
        self.redis_up = Gauge("payd_redis_up", "Whether the lock in front answers", registry=self.registry)
        return self.redis_up

    def watch_key_days(self) -> Gauge:
        """Add the certificate gauge: it exists only where a platform certificate is in use."""
        if self.key_days_left is None:
            self.key_days_left = Gauge(
                "payd_platform_key_days_left", "Days until the platform certificate ends", registry=self.registry
            )
        return self.key_days_left

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer. ``route`` is a template, so there are few."""
        self.http_requests.add((route, method if method in METHODS else "other", STATUS_CLASSES[status // 100]))
        self.http_duration.observe(seconds, (route,))

    def wechat_call(self, operation: str, outcome: str, seconds: float) -> None:
        """Count one call to WeChat."""
        self.wechat_requests.add((operation, outcome))
        self.wechat_duration.observe(seconds, (operation,))

    def committed(self, outcome: str, seconds: float, batch_size: int) -> None:
        """Count one ChangeSet: its outcome, the seconds from call to answer, and how many shared its fsync."""
        self.commits.add((outcome,))
        self.commit_duration.observe(seconds)
        self.commit_batch.observe(batch_size)

    def collect(self) -> Iterator[Metric]:
        """Turn the tallies into metric families; called by the registry at each scrape."""
        for tally in self._tallies():
            counter = CounterMetricFamily(tally.name, tally.help, labels=tally.labels)
            for key, count in tally.counts.items():
                counter.add_metric(key, count)
            yield counter
        for spread in self._spreads():
            histogram = HistogramMetricFamily(spread.name, spread.help, labels=spread.labels)
            for key, buckets, total in spread.cumulative():
                histogram.add_metric(key, buckets, total)
            yield histogram

    def _tallies(self) -> list[Tally]:
        return [part for part in vars(self).values() if isinstance(part, Tally)]

    def _spreads(self) -> list[Spread]:
        return [part for part in vars(self).values() if isinstance(part, Spread)]

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Write all metrics in the form that ``accept`` asks for; returns body and content type."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self.registry), content_type
