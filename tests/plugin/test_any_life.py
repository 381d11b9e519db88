"""Create, refund, retry, crash, expiry in any order, against a model: the plugin on its storage, WeChat as a book.

The double stands in for WeChat only: it keeps the truth (who was prepaid, paid, refunded), answers or loses answers,
and can kill the process before or after it acted. A new process is a new plugin on the same storage.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from payd.errors import RequestError
from payd.metrics import Metrics
from payd.models.evidence import PaymentEvidence, RefundEvidence, Source
from payd.models.order import CreateCommand
from payd.models.refund import RefundCommand
from payd.models.states import REFUND_STATUSES, TRADE_STATES, OrderState, RefundState
from payd.models.wechat import Closed, PrepayParameters, Refused, Unclear
from payd.plugin.idempotency import IdempotencyGate, KeyedRequest
from payd.plugin.pay_plugin import PayPlugin
from payd.plugin.settlement import Merchant, Settlement
from payd.storage import MemoryStorage

MCHID, APPID, TTL = "1900000001", "wx0000000000000001", 3600


class Killed(BaseException):
    """The process died here."""


class Book:
    """WeChat's truth, and the mischief of the next call: lose it, lose the answer, die before or after, refuse."""

    def __init__(self):
        self.orders, self.refunds, self.mischief = {}, {}, None
        self.prepaid_bodies = {}

    def carry_out(self, act):
        mischief, self.mischief = self.mischief, None
        if mischief == "kill_before":
            raise Killed
        if mischief == "refuse":
            return Refused(status=403, code="RULE_LIMIT", message="", request_id=None)
        if mischief == "lose_before":
            return Unclear(reason="timeout")
        answer = act()
        if mischief == "kill_after":
            raise Killed
        return Unclear(reason="timeout") if mischief == "lose" else answer

    # -- ports.WechatPay, as far as the plugin asks -----------------------------------------------------------------

    def prepay_body(self, command, *, out_trade_no, expires_at):
        return json.dumps([out_trade_no, command.total_fen, command.description]).encode()

    def refund_body(self, order, *, out_refund_no, refund_fen, reason, content):
        return json.dumps([order.out_trade_no, out_refund_no, refund_fen]).encode()

    async def prepay(self, trade_type, body):
        def act():
            number, total, _ = json.loads(body)
            assert self.prepaid_bodies.setdefault(number, body) == body, "a repeat sends the same bytes"
            state = self.orders.setdefault(number, {"state": "NOTPAY", "total": total})["state"]
            if state == "NOTPAY":
                return PrepayParameters(code_url=f"weixin://{number}")
            code = "ORDERPAID" if state == "SUCCESS" else "ORDER_CLOSED"
            return Refused(status=400, code=code, message="", request_id=None)

        return self.carry_out(act)

    async def query_payment(self, number):
        def act():
            order = self.orders.get(number)
            word = order["state"] if order else "NOTPAY"
            paid = word == "SUCCESS"
            return PaymentEvidence(
                source=Source.QUERY, out_trade_no=number, event=TRADE_STATES[word], trade_state=word,
                exists=order is not None, mchid=MCHID, appid=APPID, total_fen=order["total"] if order else None,
                currency="CNY", transaction_id=f"4200{number}" if paid else None,
                payer_total_fen=order["total"] if paid else None,
            )  # fmt: skip

        return self.carry_out(act)

    async def close(self, number):
        def act():
            order = self.orders.setdefault(number, {"state": "NOTPAY", "total": 0})
            if order["state"] == "SUCCESS":
                return Refused(status=400, code="ORDERPAID", message="", request_id=None)
            order["state"] = "CLOSED"
            return Closed()

        return self.carry_out(act)

    async def refund(self, body, *, out_refund_no):
        def act():
            number, refund_no, fen = json.loads(body)
            self.refunds.setdefault(refund_no, {"order": number, "fen": fen, "status": "PROCESSING"})
            return self.refund_evidence(refund_no)

        return self.carry_out(act)

    async def query_refund(self, out_refund_no):
        return self.carry_out(lambda: self.refund_evidence(out_refund_no))

    def refund_evidence(self, refund_no):
        refund = self.refunds.get(refund_no)
        word = refund["status"] if refund else "PROCESSING"
        return RefundEvidence(
            source=Source.QUERY, out_refund_no=refund_no, event=REFUND_STATUSES[word], status_word=word,
            exists=refund is not None, refund_fen=refund["fen"] if refund else None, refund_id=f"50{refund_no}",
        )  # fmt: skip


class Moving:
    """A clock that moves when told."""

    def __init__(self):
        self.at = datetime(2026, 11, 23, tzinfo=UTC)

    def now(self):
        return self.at

    def monotonic(self):
        return self.at.timestamp()


class Counting:
    """Randomness that never repeats, and always the same."""

    def __init__(self):
        self.drawn = 0

    def token_hex(self, count):
        self.drawn += 1
        return f"{self.drawn:0{count * 2}x}"

    def uniform(self, low, high):
        return low


KEYS = st.sampled_from(["k1", "k2", "k3"])
TOTALS = st.sampled_from([500, 1000])
MISCHIEF = st.sampled_from([None, None, "lose", "lose_before", "kill_before", "kill_after", "refuse"])


class AnyLife(RuleBasedStateMachine):
    """One merchant, three keys, a WeChat that misbehaves, and a process that dies."""

    @initialize()
    def begin(self):
        self.loop = asyncio.new_event_loop()
        self.clock, self.entropy, self.book, self.storage = Moving(), Counting(), Book(), MemoryStorage()
        self.metrics = Metrics(mode="sandbox")
        self.bodies, self.finished, self.bound, self.tried = {}, {}, {}, {}
        self.start_process()

    def start_process(self):
        settlement = Settlement(
            storage=self.storage, wechat=self.book, merchant=Merchant(MCHID, APPID, False), clock=self.clock,
            metrics=self.metrics,
            announcer=lambda announcements, snapshot, now: (), late_payment_policy="hold", on_delivery=lambda: None,
        )  # fmt: skip
        self.gate = IdempotencyGate(
            storage=self.storage, clock=self.clock, entropy=self.entropy, ttl_seconds=TTL, lock=None,
            count=lambda outcome: None,
        )  # fmt: skip
        self.settlement = settlement
        self.plugin = PayPlugin(
            storage=self.storage, wechat=self.book, settlement=settlement, gate=self.gate, clock=self.clock,
            entropy=self.entropy, merchant=Merchant(MCHID, APPID, False),
        )  # fmt: skip

    def run(self, work):
        """Run one request; a kill ends the process and a new one begins on the same storage."""
        try:
            return self.loop.run_until_complete(work)
        except Killed:
            self.start_process()
            return None
        except RequestError as error:
            return error

    async def keyed(self, route, key, body, ask):
        request = KeyedRequest("client", route, key, json.dumps(body).encode())
        async with self.gate.enter(request) as call:
            return await ask(call)

    @rule(key=KEYS, total=TOTALS, mischief=MISCHIEF)
    def create(self, key, total, mischief):
        self.book.mischief = mischief
        content = {"amount": {"total": total}}
        command = CreateCommand(
            out_trade_no=None, trade_type="NATIVE", description="tea", total_fen=total, currency="CNY",
            expire_seconds=600, openid=None, attach=None, goods_tag=None, detail=None, scene_info=None,
            settle_info=None, support_fapiao=None, metadata=None, content=content,
        )  # fmt: skip

        def render(snapshot, outcome):
            status = {"created": 201, "unknown": 202, "refused": 422}.get(outcome, 200)
            return status, json.dumps([snapshot.order.out_trade_no, snapshot.order.status, outcome]).encode()

        answer = self.run(
            self.keyed("create", key, content, lambda call: self.plugin.create(
                command, request_id="r", call=call, render=render))
        )  # fmt: skip
        self.book.mischief = None
        self.judge(("create", key), content, answer)

    def judge(self, key, body, answer):
        """Compare with the model: a key has one body, one finished answer and one number."""
        tried = self.tried.setdefault(key, [])
        tried.append(body)
        if answer is None:
            return
        if isinstance(answer, RequestError):
            if answer.code == "idempotency_key_reused":
                assert any(other != body for other in tried), "the only body of the key was refused"
            return
        if key in self.finished:
            assert answer.replayed
            assert (answer.status, answer.body) == self.finished[key]
            return
        assert self.bodies.setdefault(key, body) == body, "another body was carried out under the key"
        number = json.loads(answer.body)[0]
        assert self.bound.setdefault(key, number) == number, "a key went on under another number"
        if answer.status in (200, 201, 422):
            self.finished[key] = (answer.status, answer.body)

    @rule(position=st.integers(0, 5), told=st.booleans())
    def the_payer_pays(self, position, told):
        unpaid = [n for n, o in self.book.orders.items() if o["state"] == "NOTPAY" and o["total"]]
        if not unpaid:
            return
        number = unpaid[position % len(unpaid)]
        self.book.orders[number]["state"] = "SUCCESS"
        if told:
            evidence = self.loop.run_until_complete(self.book.query_payment(number))
            self.loop.run_until_complete(self.settlement.payment(replace(evidence, source=Source.NOTIFICATION)))

    @rule(key=KEYS, position=st.integers(0, 5), fen=st.sampled_from([100, 400, 500]), mischief=MISCHIEF)
    def refund(self, key, position, fen, mischief):
        numbers = sorted(self.book.orders)
        if not numbers:
            return
        self.book.mischief = mischief
        number = numbers[position % len(numbers)]
        content = {"amount": {"refund": fen}}
        command = RefundCommand(
            out_trade_no=number, transaction_id=None, out_refund_no=None, refund_fen=fen, reason=None,
            funds_account=None, goods_detail=None, metadata=None, content=content,
        )  # fmt: skip

        def render(refund_no):
            def write(snapshot, outcome):
                status = {"created": 201, "unknown": 202, "refused": 422}.get(outcome, 200)
                return status, json.dumps([refund_no, outcome]).encode()

            return write

        body = content | {"out_trade_no": number}
        answer = self.run(
            self.keyed("refund", key, body, lambda call: self.plugin.refund(
                command, request_id="r", call=call, render=render))
        )  # fmt: skip
        self.book.mischief = None
        self.judge(("refund", key), body, answer)

    @rule(position=st.integers(0, 5))
    def a_refund_succeeds_at_wechat(self, position):
        under_way = [r for r in self.book.refunds.values() if r["status"] == "PROCESSING"]
        if under_way:
            under_way[position % len(under_way)]["status"] = "SUCCESS"

    @rule(seconds=st.sampled_from([5, 61, 700]))
    def time_passes_and_the_reconciler_runs(self, seconds):
        self.clock.at += timedelta(seconds=seconds)
        self.loop.run_until_complete(self.reconcile())

    @precondition(lambda self: self.clock.at < datetime(2026, 11, 24, tzinfo=UTC))
    @rule()
    def keys_expire(self):
        self.clock.at += timedelta(seconds=TTL + 1)
        self.bodies, self.finished, self.bound, self.tried = {}, {}, {}, {}

    async def reconcile(self):
        for number in await self.storage.due_refunds(self.clock.now(), limit=100):
            await self.plugin.follow_refund(number)
        for number in await self.storage.due_payments(self.clock.now(), limit=100):
            await self.plugin.follow_payment(number)

    async def snapshots(self):
        return [s for number in self.book.orders if (s := await self.storage.load_order(number)) is not None]

    @invariant()
    def wechat_never_gives_back_more_than_it_took(self):
        for number, order in self.book.orders.items():
            given = sum(r["fen"] for r in self.book.refunds.values() if r["order"] == number)
            assert given <= (order["total"] if order["state"] == "SUCCESS" else 0)

    @invariant()
    def what_is_paid_here_is_paid_there(self):
        for snapshot in self.loop.run_until_complete(self.snapshots()):
            there = self.book.orders[snapshot.order.out_trade_no]["state"]
            if snapshot.order.status is OrderState.PAID:
                assert there == "SUCCESS"
            for refund in snapshot.refunds:
                if refund.status is RefundState.REFUND_SUCCESS:
                    assert self.book.refunds[refund.out_refund_no]["status"] == "SUCCESS"

    def teardown(self):
        """In the end both sides agree."""
        if not hasattr(self, "loop"):
            return
        for _ in range(8):
            self.clock.at += timedelta(hours=1)
            with suppress(Killed):
                self.loop.run_until_complete(self.reconcile())
        for snapshot in self.loop.run_until_complete(self.snapshots()):
            paid_there = self.book.orders[snapshot.order.out_trade_no]["state"] == "SUCCESS"
            assert (snapshot.order.status is OrderState.PAID or snapshot.order.late) == paid_there
        self.loop.close()


AnyLife.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None, derandomize=True)
TestAnyLife = AnyLife.TestCase
