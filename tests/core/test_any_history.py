"""Any sequence of events: no illegal arrow, never more refunded than paid, final states stay, the books balance."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from payd.core.close_order import decide_close_pending, decide_closed
from payd.core.create_payment import decide_prepay_answer, decide_resubmit
from payd.core.refund_payment import (
    check_refund,
    decide_refund,
    decide_refund_answer,
    decide_refund_evidence,
    decide_refund_resubmit,
)
from payd.core.settle_payment import decide_payment_evidence
from payd.errors import RequestError
from payd.models.journal import line_hash
from payd.models.states import (
    FINAL_PAYMENT,
    FINAL_REFUND,
    ORDER_ARROWS,
    ORDER_FOLLOWS,
    PAYMENT_TABLE,
    REFUND_TABLE,
    OrderState,
    PaymentState,
    RefundState,
)
from payd.models.wechat import Closed, PrepayParameters, Refused, Unclear
from tests.core.conftest import World

ARROWS = {
    "order": ORDER_ARROWS,
    "payment": {(a, b) for a, row in PAYMENT_TABLE.items() for b in row.values() if isinstance(b, PaymentState)},
    "refund": {(a, b) for a, row in REFUND_TABLE.items() for b in row.values() if isinstance(b, RefundState)},
}
STATES = {"order": OrderState, "payment": PaymentState, "refund": RefundState}
ANSWERS = st.sampled_from(
    [
        PrepayParameters(code_url="weixin://x"),
        Refused(status=400, code="PARAM_ERROR", message="", request_id=None),
        Refused(status=403, code="NOT_ENOUGH", message="", request_id=None),
        Refused(status=400, code="ORDER_PAID", message="", request_id=None),
        Unclear(reason="timeout"),
    ]
)
TRADE = st.sampled_from(["SUCCESS", "REFUND", "NOTPAY", "CLOSED", "REVOKED", "PAYERROR", "USERPAYING", "NEW_WORD"])
REFUND = st.sampled_from(["SUCCESS", "PROCESSING", "CLOSED", "ABNORMAL", "NEW_WORD"])
NUMBERS = st.sampled_from(["R1", "R2", "R3"])


class AnyHistory(RuleBasedStateMachine):
    """Everything that can be said about one order, in any order, with time passing in between."""

    @initialize()
    def create(self):
        self.world = World()
        self.journal, self.ledger = [], []
        self.final = {}
        self.take(self.world.create())

    def take(self, decision):
        if decision.change is not None:
            self.journal += decision.change.journal
            self.ledger += decision.change.ledger
        self.snapshot = decision.snapshot

    @rule(seconds=st.sampled_from([1, 61, 3600, 90_000]))
    def wait(self, seconds):
        self.world.wait(seconds=seconds)

    @rule(answer=ANSWERS, counts=st.booleans())
    def prepay_answered(self, answer, counts):
        self.take(decide_prepay_answer(self.snapshot, answer, counts=counts, word=self.world.word()))

    @rule()
    def resubmit(self):
        if self.snapshot.payment.status is PaymentState.PROCESSING:
            self.take(decide_resubmit(self.snapshot, self.world.word()))

    @rule(word=TRADE, exists=st.booleans(), total=st.sampled_from([1000, 1000, 1000, 1]))
    def told_of_the_payment(self, word, exists, total):
        evidence = self.world.payment(word, exists=exists, total_fen=total)
        self.take(decide_payment_evidence(self.snapshot, evidence, self.world.word()))

    @rule(confirmed=st.booleans())
    def close(self, confirmed):
        word = self.world.word()
        decided = (
            decide_closed(self.snapshot, Closed(), word) if confirmed else decide_close_pending(self.snapshot, word)
        )
        self.take(decided)

    @rule(number=NUMBERS, fen=st.integers(1, 1200))
    def refund(self, number, fen):
        if self.snapshot.refund(number) is not None:
            return
        before = self.snapshot
        try:
            check_refund(self.snapshot, fen, self.world.word())
        except RequestError:
            assert before == self.snapshot
            return
        self.take(
            decide_refund(
                self.snapshot,
                out_refund_no=number,
                refund_fen=fen,
                reason=None,
                content={},
                metadata=None,
                wire_request=b"",
                word=self.world.word(),
            )  # fmt: skip
        )

    @rule(number=NUMBERS, answer=ANSWERS, counts=st.booleans())
    def refund_answered(self, number, answer, counts):
        if self.snapshot.refund(number) is not None and isinstance(answer, (Refused, Unclear)):
            word = self.world.word()
            self.take(decide_refund_answer(self.snapshot, number, answer, counts=counts, word=word))

    @rule(number=NUMBERS)
    def refund_resubmitted(self, number):
        refund = self.snapshot.refund(number)
        if refund is not None and refund.status is RefundState.REFUNDING:
            self.take(decide_refund_resubmit(self.snapshot, number, self.world.word()))

    @rule(number=NUMBERS, status=REFUND, exists=st.booleans())
    def told_of_a_refund(self, number, status, exists):
        refund = self.snapshot.refund(number)
        if refund is not None:
            evidence = self.world.refund(number, status, refund.refund_fen, exists=exists)
            self.take(decide_refund_evidence(self.snapshot, evidence, self.world.word()))

    @invariant()
    def every_arrow_is_legal(self):
        for line in self.journal:
            if line.from_state is not None and line.to_state is not None:
                states = STATES[line.subject]
                assert (states(line.from_state), states(line.to_state)) in ARROWS[line.subject]

    @invariant()
    def the_order_follows_its_payment(self):
        assert self.snapshot.order.status is ORDER_FOLLOWS[self.snapshot.payment.status]

    @invariant()
    def what_is_final_stays(self):
        now = {"payment": (self.snapshot.payment.status, FINAL_PAYMENT)}
        now |= {r.out_refund_no: (r.status, FINAL_REFUND) for r in self.snapshot.refunds}
        for name, (status, finals) in now.items():
            assert self.final.get(name, status) is status
            if status in finals:
                self.final[name] = status

    @invariant()
    def refunds_never_exceed_what_was_paid(self):
        order, refunds = self.snapshot.order, self.snapshot.refunds
        held = sum(r.refund_fen for r in refunds if r.status is not RefundState.REFUND_FAIL)
        done = sum(r.refund_fen for r in refunds if r.status is RefundState.REFUND_SUCCESS)
        assert held == order.reserved_fen <= order.total_fen
        assert done == order.refunded_fen <= order.reserved_fen

    @invariant()
    def the_ledger_balances_and_books_nothing_twice(self):
        assert sum(entry.amount_fen for entry in self.ledger) == 0
        sides = Counter((entry.posting_id, entry.account) for entry in self.ledger)
        assert max(sides.values(), default=1) == 1

    @invariant()
    def the_journal_is_one_unbroken_chain(self):
        head = ""
        for position, line in enumerate(self.journal, start=1):
            members = {name: getattr(line, name) for name in type(line).__slots__ if name != "hash"}
            assert (line.position, line.previous_hash) == (position, head)
            assert line.hash == line_hash(**members)
            head = line.hash
        assert self.snapshot.order.journal_head == head

    @invariant()
    def what_is_open_is_due(self):
        if self.snapshot.payment.status is PaymentState.PROCESSING:
            assert self.snapshot.payment.next_check_at is not None
        for refund in self.snapshot.refunds:
            assert (refund.next_check_at is not None) == (refund.status is RefundState.REFUNDING)


AnyHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)
TestAnyHistory = AnyHistory.TestCase
