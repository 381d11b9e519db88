"""``Sandbox``: builds the simulator once, listens on loopback, and puts it away again."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest

from payd.sandbox.agenda import Agenda
from payd.sandbox.bill_api import BillApi
from payd.sandbox.book import Book
from payd.sandbox.book_file import BookFile
from payd.sandbox.certificate_api import CertificateApi
from payd.sandbox.clock import BookClock
from payd.sandbox.control_api import ControlApi
from payd.sandbox.echo_api import EchoApi
from payd.sandbox.errors import ListenRefused
from payd.sandbox.exchange import Answer, Call
from payd.sandbox.faults import Faults
from payd.sandbox.gateway import Gateway
from payd.sandbox.identifiers import Identifiers
from payd.sandbox.key_control import KeyControl
from payd.sandbox.loopback_poster import LoopbackPoster, is_loopback_host
from payd.sandbox.merchant import Merchant, open_vault, prepare_directory
from payd.sandbox.notifier import Notifier
from payd.sandbox.pay_api import PayApi
from payd.sandbox.payer import Payer, Payment
from payd.sandbox.platform_keys import PlatformKeys
from payd.sandbox.refund_api import RefundApi
from payd.sandbox.switches import Switches
from payd.sandbox.witness import RequestWitness
from payd.sandbox.world import World

_log = logging.getLogger("payd.sandbox")
_MOST_BODY_BYTES = 1 << 20
_HEADER_BYTES = 32 << 10
_BACKLOG = 1024
_IDLE_SECONDS = 8  # section 2.5: the front servers drop idle connections after this


class Sandbox:
    """A WeChat Pay v3 gateway for one throw-away merchant, on loopback only.

    Made with a directory (prepared on the spot when empty; then it takes a second), started and stopped on
    a running asyncio loop, alone or inside another program. ``seed`` makes its identifiers and nuisances
    the same in every run; with None a kept book goes on with its own seed. ``persist=False`` keeps the
    book in memory. ``backup_port`` opens a second listener that ``host_down`` does not take down.
    """

    def __init__(
        self,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int | None = None,
        persist: bool = True,
        backup_port: int | None = None,
        switches: Switches | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Read or make the directory. Raises ListenRefused for a host that is not loopback, DirectoryRefused."""
        if not is_loopback_host(host):
            raise ListenRefused(f"{host} is not a loopback address; the sandbox listens nowhere else")
        self._directory = Path(directory).absolute()
        self._host = host
        self._wanted_port = port
        self._wanted_backup_port = backup_port
        self._seed = seed
        self._persist = persist
        self._switches = switches or Switches()
        self._wall = wall_clock
        self.merchant: Merchant = prepare_directory(self._directory, port=port or 8081, host=host)
        self._servers: list[HTTPServer] = []
        self._sockets: list[socket.socket] = []
        self._world: World | None = None

    @property
    def port(self) -> int:
        """The port it listens on; only while started."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    @property
    def base_url(self) -> str:
        """``http://host:port``, the ``api_base`` of clients; only while started."""
        return self._url(0)

    @property
    def backup_url(self) -> str:
        """The backup host; only while started with ``backup_port``."""
        return self._url(1)

    @property
    def has_backup(self) -> bool:
        """True while it also listens as the backup host."""
        return len(self._sockets) > 1

    @property
    def book_offset_seconds(self) -> float:
        """How far the book's clock is ahead of the wall clock; 0 before the start."""
        return self._world.clock.offset_seconds if self._world is not None else 0.0

    def _url(self, index: int) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._sockets[index].getsockname()[1]}"

    async def start(self) -> None:
        """Open the book, listen, and go on where the book left off. Raises ListenRefused, DirectoryRefused."""
        ports = [self._wanted_port]
        if self._wanted_backup_port is not None:
            ports.append(self._wanted_backup_port)
        world = self._open_world()
        try:
            self._sockets = self._bind_all(ports)
        except ListenRefused:
            world.book.close()
            raise
        self._world = world
        self._build(world)
        for backup, sock in enumerate(self._sockets):
            server = HTTPServer(
                self._entrance(backup=bool(backup)),
                max_body_size=_MOST_BODY_BYTES,
                max_header_size=_HEADER_BYTES,
                idle_connection_timeout=_IDLE_SECONDS,
            )
            server.add_socket(sock)
            self._servers.append(server)
        self._resume(world)
        world.agenda.start()

    async def stop(self) -> None:
        """Refuse new connections, end what is under way, close everything. Stopping twice is allowed."""
        world, self._world = self._world, None
        if world is None:
            return
        for server in self._servers:
            server.stop()
        await self._gateway.stop()
        await world.agenda.stop()
        await self._control.stop()
        await world.agenda.settled()
        for server in self._servers:
            await server.close_all_connections()
        self._poster.close()
        world.commit()
        world.book.close()
        self._servers.clear()
        self._sockets.clear()

    def _bind_all(self, ports: list[int]) -> list[socket.socket]:
        """One listening socket per port, or none at all."""
        bound: list[socket.socket] = []
        try:
            for port in ports:
                bound.append(_listen(self._host, port))
        except ListenRefused:
            for sock in bound:
                sock.close()
            raise
        return bound

    def _open_world(self) -> World:
        book = Book(BookFile(self._directory / "book.db") if self._persist else None)
        vault = open_vault(self._directory)
        clock = BookClock(self._wall)
        clock.offset_seconds = float(book.meta.get("offset_seconds", 0.0))
        seed = self._seed
        if seed is None:
            seed = int(book.meta.get("seed", secrets.randbits(32)))
        keys = PlatformKeys(vault, self.merchant.public_key_id)
        return World(
            merchant=self.merchant,
            vault=vault,
            clock=clock,
            book=book,
            identifiers=Identifiers(seed, int(book.meta.get("counter", 0))),
            keys=keys,
            agenda=Agenda(clock),
            switches=self._switches.changed(book.meta.get("switches", {})),
        )

    def _build(self, world: World) -> None:
        """Make every part once, from the bottom up."""
        witness = RequestWitness(
            mchid=self.merchant.mchid,
            serial_no=self.merchant.merchant_serial_no,
            public_key=world.vault.merchant_public_key,
            wall=self._wall,
        )
        witness.refuse_replays = world.switches.refuse_replays
        faults = Faults(world.identifiers.seed, self._wall)
        self._poster = LoopbackPoster()
        notifier = Notifier(world, faults, self._poster)
        pay_api = PayApi(world)
        refund_api = RefundApi(world, notifier)
        bill_api = BillApi(world, base_url=self.base_url)
        payer = Payer(world, notifier, witness)
        self._gateway = Gateway(
            world,
            witness=witness,
            faults=faults,
            handlers={
                "prepay": pay_api.prepay,
                "query": pay_api.query,
                "close": pay_api.close,
                "refund": refund_api.create,
                "refund_query": refund_api.query,
                "abnormal_refund": refund_api.abnormal,
                "trade_bill": bill_api.trade_bill,
                "fund_bill": bill_api.fund_bill,
                "download": bill_api.download,
                "certificates": CertificateApi(world).list,
                "echo": EchoApi(world, notifier).echo,
            },
            close_races=_close_races(world, pay_api, payer),
        )
        keys = KeyControl(world)
        keys.restore()
        self._control = ControlApi(
            world,
            faults=faults,
            payer=payer,
            refunds=refund_api,
            notifier=notifier,
            keys=keys,
            log=self._gateway.log,
            witness=witness,
        )
        world.agenda.register("order", pay_api.close_by_age)
        world.agenda.register("refund", refund_api.settle)
        world.agenda.register("notification", notifier.send_due)

    def _entrance(self, *, backup: bool) -> Callable[[HTTPServerRequest], None]:
        """Control calls to the left, WeChat's API to the right."""
        gateway, control = self._gateway, self._control

        def enter(request: HTTPServerRequest) -> None:
            if request.path.startswith("/_sandbox/"):
                control.serve(request)
            else:
                gateway.serve(request, backup=backup)

        return enter

    def _resume(self, world: World) -> None:
        """Enter into the agenda again what the kept book still has to do."""
        for order in world.book.orders.values():
            if order.trade_state == "NOTPAY":
                world.agenda.at(order.auto_close_at, "order", order.out_trade_no)
        for record in world.book.refunds.values():
            if record.status == "PROCESSING" and record.settle_at is not None:
                world.agenda.at(record.settle_at, "refund", record.out_refund_no)
        for notification in world.book.notifications.values():
            if notification.next_at is not None:
                world.agenda.at(notification.next_at, "notification", notification.id)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens on a loopback address. Raises ListenRefused when the port is not to be had."""
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    assert address.is_loopback, address
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        raise ListenRefused(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    return sock


def _close_races(world: World, pay_api: PayApi, payer: Payer) -> Callable[[str, Call], Answer]:
    """A close that meets a payer at the same moment (sections 6.2 and 14), both ways."""

    def race(kind: str, call: Call) -> Answer:
        order = world.book.orders.get(call.arguments["out_trade_no"])
        if kind == "pay_wins" and order is not None and not order.paid:
            payer.pay(order, Payment(force=True))
        answer = pay_api.close(call)
        order = world.book.orders.get(call.arguments["out_trade_no"])
        if kind == "pay_after_close" and order is not None:
            payer.pay(order, Payment(force=True))
        if kind == "close_wins" and order is not None:
            world.book.put(replace(order, failed_attempts=order.failed_attempts + 1))
        return answer

    return race
