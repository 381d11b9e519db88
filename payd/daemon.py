"""The composition root: builds every part once, serves, drains, and closes in reverse order.

Only this file and ``cli.py`` know the simulator: in mode ``sandbox`` it runs inside, on a loopback port of its own,
and payd speaks to it over real HTTP like to WeChat.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tornado.netutil import bind_sockets

from payd import __version__, limits
from payd.checkup import CALLBACK_PATH
from payd.config import Config, load_config
from payd.errors import Complaint, ConfigError, PaydError
from payd.logs import get_logger
from payd.metrics import Metrics
from payd.models.changes import OrderSnapshot
from payd.models.discrepancy import Discrepancy
from payd.models.webhook import Announcement, Delivery
from payd.operator_client import socket_path
from payd.operator_socket import operator_socket
from payd.plugin.discrepancies import resolve_discrepancy
from payd.plugin.idempotency import IdempotencyGate
from payd.plugin.pay_plugin import PayPlugin
from payd.plugin.settlement import Merchant, Settlement
from payd.ports import Clock, IdempotencyLock
from payd.storage import SqliteStorage, open_storage
from payd.system import FollowingClock, SystemClock, SystemEntropy
from payd.web.application import PaydApplication, route_templates
from payd.web.http_server import HttpServer
from payd.web.pay_auth_filter import PayAuthFilter
from payd.web.services import InFlight, RejectedRows, Services, StorageProbe
from payd.web.views import announced_view
from payd.webhook.outbox import Outbox
from payd.webhook.sender import HttpWebhookSender
from payd.wechat import ClientSettings, WechatPayClient, open_wechat_pay
from payd.workers.bill_reconciler import BillReconciler
from payd.workers.housekeeping import Housekeeping
from payd.workers.periodic import Periodic
from payd.workers.reconciler import Reconciler
from payd.workers.webhook_dispatcher import WebhookDispatcher

log = get_logger("payd.daemon")

#: Seconds between looks at webhooks that are due (a new one is sent at once, by a kick).
DISPATCH_INTERVAL_SECONDS = 2
#: Seconds between looks at whether a bill is due.
BILL_INTERVAL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Gateway:
    """Whom payd speaks to: WeChat, or the simulator inside. ``books_clock`` is what payd writes into its books."""

    settings: ClientSettings
    books_clock: Clock
    simulator_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts below HTTP: what the daemon serves with, and what a command of the CLI works with alone."""

    config: Config
    storage: SqliteStorage
    wechat: WechatPayClient
    plugin: PayPlugin
    settlement: Settlement
    gate: IdempotencyGate
    metrics: Metrics
    reconciler: Reconciler
    dispatcher: WebhookDispatcher
    bills: BillReconciler
    clock: Clock
    entropy: SystemEntropy
    dispatch_soon: list[Callable[[], None]]


@asynccontextmanager
async def open_gateway(config: Config, *, notify_url: str, with_simulator: bool) -> AsyncIterator[Gateway]:
    """Start the simulator in mode sandbox (unless one runs already); say whom to speak to."""
    if config.mode == "live":
        yield Gateway(ClientSettings.from_config(config), SystemClock(), None)
        return
    from payd.sandbox import Sandbox, prepare_directory

    merchant = await asyncio.to_thread(prepare_directory, config.sandbox.dir, port=config.sandbox.port)
    async with AsyncExitStack() as stack:
        url, clock = f"http://127.0.0.1:{config.sandbox.port}", SystemClock()
        if with_simulator:
            simulator = Sandbox(config.sandbox.dir, port=config.sandbox.port)
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            url = simulator.base_url
            clock = FollowingClock(lambda: simulator.book_offset_seconds)
        settings = ClientSettings(
            mchid=merchant.mchid,
            appid=merchant.appid,
            private_key_path=merchant.private_key_path,
            api_v3_key=merchant.api_v3_key.encode(),
            notify_url=config.wechat_pay.notify_url or notify_url,
            merchant_serial_no=merchant.merchant_serial_no,
            platform_serial_no=merchant.platform_serial_no,
            platform_cert_path=merchant.platform_cert_path,
            public_key_id=merchant.public_key_id,
            public_key_path=merchant.public_key_path,
            cert_refresh_interval_seconds=config.wechat_pay.cert_refresh_interval_seconds,
            api_base=url,
            api_base_backup=None,
            timeout_ms=config.wechat_pay.timeout_ms,
        )
        yield Gateway(settings, clock, url)


@asynccontextmanager
async def open_parts(config: Config, gateway: Gateway) -> AsyncIterator[Parts]:
    """Build everything below HTTP, and close it in reverse order."""
    async with AsyncExitStack() as stack:
        clock, entropy = gateway.books_clock, SystemEntropy()
        metrics = Metrics(mode=config.mode, routes=route_templates())
        storage = open_storage(config.storage.path, mode=config.mode, clock=clock, on_commit=metrics.committed)
        stack.push_async_callback(storage.close)
        wechat = open_wechat_pay(gateway.settings, clock=SystemClock(), entropy=entropy, on_call=metrics.wechat_call)
        stack.push_async_callback(wechat.close_client)
        await wechat.refresh_keys()
        sender = HttpWebhookSender(config.webhooks, clock=SystemClock())  # the wire never follows the books (D8)
        stack.push_async_callback(sender.close)
        dispatch_soon: list[Callable[[], None]] = []
        dispatcher = WebhookDispatcher(
            storage=storage,
            sender=sender,
            endpoints=config.webhooks,
            clock=clock,
            entropy=entropy,
            on_attempt=lambda outcome: metrics.webhook_attempts.labels(outcome).inc(),
        )
        stack.push_async_callback(dispatcher.close)
        await dispatcher.load_disabled()
        outbox = Outbox(config.webhooks, render=announced_view, entropy=entropy)

        def announce(
            announcements: tuple[Announcement, ...], snapshot: OrderSnapshot, now: datetime
        ) -> tuple[Delivery, ...]:
            return outbox.deliveries(announcements, snapshot, now=now, disabled=dispatcher.disabled)

        def kick() -> None:
            for soon in dispatch_soon:
                soon()

        merchant = Merchant(gateway.settings.mchid, gateway.settings.appid, config.livemode)
        settlement = Settlement(
            storage=storage,
            wechat=wechat,
            merchant=merchant,
            clock=clock,
            metrics=metrics,
            announcer=announce,
            late_payment_policy=config.late_payment_policy,
            on_delivery=kick,
        )
        lock = await _redis_lock(config, metrics, stack)
        gate = IdempotencyGate(
            storage=storage,
            clock=clock,
            entropy=entropy,
            ttl_seconds=config.idempotency_ttl_seconds,
            lock=lock,
            count=lambda outcome: metrics.idempotency.labels(outcome).inc(),
        )
        plugin = PayPlugin(
            storage=storage,
            wechat=wechat,
            settlement=settlement,
            gate=gate,
            clock=clock,
            entropy=entropy,
            merchant=merchant,
        )
        yield Parts(
            config=config,
            storage=storage,
            wechat=wechat,
            plugin=plugin,
            settlement=settlement,
            gate=gate,
            metrics=metrics,
            clock=clock,
            entropy=entropy,
            dispatcher=dispatcher,
            dispatch_soon=dispatch_soon,
            reconciler=Reconciler(
                storage=storage,
                follow_payment=plugin.follow_payment,
                follow_refund=plugin.follow_refund,
                clock=clock,
                metrics=metrics,
                batch_size=config.reconcile_batch_size,
                interval_seconds=config.reconcile_interval_seconds,
                enabled=config.reconcile_enabled,
            ),
            bills=BillReconciler(
                storage=storage,
                wechat=wechat,
                settlement=settlement,
                clock=clock,
                mchid=gateway.settings.mchid,
                appid=gateway.settings.appid,
                config=config.bills,
                folder=config.storage.path.parent / "bills",
            ),
        )


async def _redis_lock(config: Config, metrics: Metrics, stack: AsyncExitStack) -> IdempotencyLock | None:
    if not config.use_redis_idempotency:
        return None
    try:
        from payd.idempotency.redis_lock import RedisLock
    except ModuleNotFoundError as exc:
        if exc.name != "redis":
            raise  # a mistake of ours, or a broken installation: not what the complaint says
        complaint = Complaint("use_redis_idempotency", "needs the redis package: pip install 'payd[redis]'")
        raise ConfigError([complaint]) from exc
    gauge = metrics.watch_redis()
    lock = RedisLock(
        config.redis.url.get_secret_value(),
        timeout_ms=config.redis.timeout_ms,
        lease_seconds=limits.IDEMPOTENCY_LEASE_SECONDS,
        clock=SystemClock(),
        on_state=lambda up: gauge.set(1 if up else 0),
    )
    stack.push_async_callback(lock.close)
    return lock


def _services(parts: Parts, auth: PayAuthFilter, in_flight: InFlight) -> Services:
    async def resend(delivery_id: str) -> Delivery:
        delivery = await parts.dispatcher.resend(delivery_id)
        for soon in parts.dispatch_soon:
            soon()
        return delivery

    async def resolve(discrepancy_id: str, note: str, by: str, request_id: str) -> Discrepancy | None:
        return await resolve_discrepancy(
            parts.storage, parts.clock, discrepancy_id, note=note, by=by, request_id=request_id
        )

    return Services(
        mode=parts.config.mode,
        version=__version__,
        storage=parts.storage,
        wechat=parts.wechat,
        plugin=parts.plugin,
        settlement=parts.settlement,
        gate=parts.gate,
        auth=auth,
        metrics=parts.metrics,
        clock=parts.clock,
        entropy=parts.entropy,
        in_flight=in_flight,
        rejected=RejectedRows(parts.clock),
        probe=StorageProbe(parts.storage, SystemClock()),
        reconcile_state=parts.reconciler.state,
        resend=resend,
        resolve=resolve,
    )


def _workers(parts: Parts) -> list[Periodic]:
    def failed(name: str, error: BaseException) -> None:
        parts.metrics.worker_errors.labels(name).inc()
        log.error("worker_failed", worker=name, error=repr(error))

    config = parts.config
    housekeeping = Housekeeping(storage=parts.storage, wechat=parts.wechat, clock=parts.clock, metrics=parts.metrics)

    def every(name: str, work: Callable[[], Awaitable[None]], seconds: float) -> Periodic:
        return Periodic(name, work, interval_seconds=seconds, on_error=failed)

    workers = [
        every("housekeeping", housekeeping.run, limits.HOUSEKEEPING_INTERVAL_SECONDS),
        every("webhooks", parts.dispatcher.run, DISPATCH_INTERVAL_SECONDS),
    ]
    parts.dispatch_soon.append(workers[1].kick)
    if config.reconcile_enabled:
        workers.append(every("reconciler", parts.reconciler.run, config.reconcile_interval_seconds))
    if config.bills.enabled:
        workers.append(every("bills", parts.bills.run_due, BILL_INTERVAL_SECONDS))
    return workers


async def serve(config: Config, config_path: Path, *, ready: Callable[[str], None]) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit code. ``ready`` is told one line when it listens.

    A second signal ends at once with exit code 70. Raises ConfigError, StorageError or OSError when it cannot start.
    """
    try:
        sockets = bind_sockets(config.server.port, config.server.host)
    except OSError as exc:
        raise ConfigError([_cannot_listen(config.server.host, config.server.port, exc)]) from exc
    port = sockets[0].getsockname()[1]
    notify_url = config.server.own_url(port) + CALLBACK_PATH
    async with open_gateway(config, notify_url=notify_url, with_simulator=True) as gateway:  # noqa: SIM117
        async with open_parts(config, gateway) as parts:
            in_flight = InFlight()
            auth = PayAuthFilter(config.pay, clock=SystemClock(), on_refusal=_count_refusal(parts.metrics))
            server = HttpServer(PaydApplication(_services(parts, auth, in_flight)), tls=_tls(config))
            workers = _workers(parts)
            stop = _signals(auth, config_path)
            await server.start(sockets)
            _calm_collector()
            for worker in workers:
                worker.start()
                worker.kick()
            where = config.server.url_at(config.server.host, port)
            simulator = f", simulator {gateway.simulator_url}" if gateway.simulator_url else ""
            async with operator_socket(parts, socket_path(config.storage.path)):
                ready(f"payd {__version__} listening on {where} (mode {config.mode}{simulator})")
                await stop.wait()
                return await _drain(server, in_flight, workers)


def _cannot_listen(host: str, port: int, error: OSError) -> Complaint:
    """Say why, and what to do about it."""
    other_port = "set server.port (or PAYD_SERVER__PORT) to another"
    key, cure = {
        errno.EADDRINUSE: (
            "server.port",
            f"another payd or another program has this port (ss -ltnp 'sport = :{port}' shows which): "
            f"stop it, or {other_port}",
        ),
        errno.EACCES: ("server.port", f"this user may not open port {port}: {other_port}, from 1024 up"),
    }.get(error.errno or 0, ("server.host", "set server.host to a name or address of this machine"))
    return Complaint(key, f"cannot listen on {host}:{port}: {error.strerror}; {cure}")


def _calm_collector() -> None:
    """Let the cyclic collector look less often, and never again at what was built at the start.

    payd's records make no cycles; with Python's defaults every few callbacks pay for a walk over all of them. Measured
    with scripts/bench: an eighth more notifications a second, and p99 a third lower. A walk over five thousand new
    objects holds the loop for about 10 ms on a slow machine; one over all recent orders takes 60, and is due after
    some hundred thousand creates.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 500, 100)


def _count_refusal(metrics: Metrics) -> Callable[[str], None]:
    def count(reason: str) -> None:
        counter = metrics.auth_refusals.get(reason)
        if counter is not None:
            counter.inc()

    return count


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.server.tls_cert_path is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.server.tls_cert_path, config.server.tls_key_path)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError([Complaint("server.tls_cert_path", f"cannot be used: {exc}")]) from exc
    return context


def _signals(auth: PayAuthFilter, config_path: Path) -> asyncio.Event:
    """End on SIGTERM and SIGINT, at once on the second; read the API keys again on SIGHUP.

    The events of SIGHUP, ``api_keys_reloaded`` and ``api_keys_kept``, are promised by the README.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if stop.is_set():
            os._exit(70)
        stop.set()

    def reload() -> None:
        try:
            pay = load_config(config_path, os.environ).pay
            auth.reload(pay)
            log.info("api_keys_reloaded", keys=len(pay.api_keys))
        except PaydError as error:
            log.error("api_keys_kept", error=str(error))

    for number, act in ((signal.SIGTERM, end), (signal.SIGINT, end), (signal.SIGHUP, reload)):
        loop.add_signal_handler(number, act)
    return stop


async def _drain(server: HttpServer, in_flight: InFlight, workers: list[Periodic]) -> int:
    """Stop listening, let what is under way finish, stop the workers, and only then cut idle connections."""
    log.info("draining", in_flight=in_flight.count)
    in_flight.draining = True
    server.stop()
    try:
        async with asyncio.timeout(limits.DRAIN_SECONDS):
            while in_flight.count:
                in_flight.idle.clear()
                await in_flight.idle.wait()
    except TimeoutError:
        log.error("drain_gave_up", in_flight=in_flight.count)
    for worker in workers:
        await worker.stop()
    await server.close()
    log.info("stopped")
    return 0
