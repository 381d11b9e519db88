"""Two hosts: one repeat when the first cannot be reached, a memory, and the way back."""

import json

import pytest

from payd.models.wechat import Closed, PrepayParameters, Refused, Unclear
from payd.wechat.hosts import Hosts
from payd.wechat.pacing import Pacer
from payd.wechat.requests import Operation

NUMBER = "P20261124000000abc"
MAIN, BACKUP = "https://main", "https://backup"


@pytest.fixture
def two_hosts(open_client, backup):
    """A client with a backup host."""
    return open_client(api_base_backup=backup.base, timeout_ms=200)


@pytest.mark.parametrize("act", ["hang", "reset", "truncate"])
async def test_an_unreachable_main_host_is_repeated_once_on_the_backup(act, two_hosts, gateway, backup, reply, calls):
    """The same bytes go to the other host, signed anew; one call is counted."""
    gateway.script(reply(act=act, body={"code_url": "weixin://x"}))
    backup.script(reply(body={"code_url": "weixin://y"}))
    body = b'{"out_trade_no":"x"}'

    heard = await two_hosts.prepay("NATIVE", body)

    assert PrepayParameters is type(heard)
    assert heard.code_url == "weixin://y"
    assert [len(gateway.requests), len(backup.requests)] == [1, 1]
    first, second = gateway.requests[0], backup.requests[0]
    assert (first.target, body, body) == (second.target, first.body, second.body)
    assert first.authorization["nonce_str"] != second.authorization["nonce_str"]
    assert calls == [("prepay", "ok")]


@pytest.mark.parametrize(
    "members",
    [
        {"status": 500, "body": {"code": "SYSTEM_ERROR", "message": ""}},
        {"status": 502, "signed": False},
        {"status": 429, "signed": False},
        {"signed": False, "body": {"code_url": "weixin://x"}},
        {"signed": "probe", "body": {"code_url": "weixin://x"}},
        {"status": 401, "signed": False},
    ],
    ids=lambda members: f"{members.get('status', 200)}-{members.get('signed', True)}",
)
async def test_an_answer_of_any_kind_is_never_repeated(members, two_hosts, gateway, backup, reply):
    """Only a host that could not be reached is passed over; a bad answer is for the reconciler."""
    gateway.script(reply(**members))

    heard = await two_hosts.prepay("NATIVE", b"{}")

    assert Unclear is type(heard)
    assert [len(gateway.requests), len(backup.requests)] == [1, 0]


async def test_both_hosts_gone_is_unclear(two_hosts, gateway, backup, reply):
    """Two tries, then Unclear; never a third."""
    gateway.script(reply(act="reset"))
    backup.script(reply(act="hang"))

    heard = await two_hosts.refund(b"{}", out_refund_no="R1")

    assert (Unclear, "timeout") == (type(heard), heard.reason)
    assert [len(gateway.requests), len(backup.requests)] == [1, 1]


async def test_a_refusal_on_the_second_host_may_be_our_own_echo(two_hosts, gateway, backup, reply):
    """The first try may have been carried out: its refusal on the other host settles nothing, for money and close."""
    gateway.script(reply(act="hang"))
    backup.script(reply(status=400, body={"code": "INVALID_REQUEST", "message": "请求重入时，参数与首次请求时不一致"}))

    refund = await two_hosts.refund(b"{}", out_refund_no="R1")
    prepay = await two_hosts.prepay("NATIVE", b"{}")

    assert [(Unclear, "code", "INVALID_REQUEST")] * 2 == [(type(h), h.reason, h.code) for h in (refund, prepay)]


async def test_a_refusal_on_the_second_host_counts_when_the_first_saw_nothing(open_client, backup, reply):
    """A refused connection carried nothing there: the only host that was asked has refused."""
    client = open_client(api_base="http://127.0.0.1:1", api_base_backup=backup.base)
    backup.script(reply(status=400, body={"code": "PARAM_ERROR", "message": "x"}))

    heard = await client.prepay("NATIVE", b"{}")

    assert (Refused, "PARAM_ERROR") == (type(heard), heard.code)


async def test_absence_on_the_second_host_still_counts_for_a_query(two_hosts, gateway, backup, reply):
    """A query changes nothing, so its echo cannot either."""
    gateway.script(reply(act="reset"))
    backup.script(reply(status=404, body={"code": "ORDER_NOT_EXIST", "message": "x"}))

    heard = await two_hosts.query_payment(NUMBER)

    assert heard.exists is False


async def test_repeated_failures_switch_to_the_backup_and_probing_leads_back(two_hosts, gateway, backup, reply, clock):
    """After three failures the backup is asked first; payments stay there, queries probe the main host back in."""
    gateway.script(reply(act="reset"))
    backup.script(reply(status=204))
    for _ in range(3):
        assert Closed is type(await two_hosts.close(NUMBER))
    assert len(gateway.requests) == 3

    await two_hosts.close(NUMBER)
    assert len(gateway.requests) == 3, "the backup is asked first now"

    gateway.script(reply(status=404, body={"code": "ORDER_NOT_EXIST", "message": "x"}))
    for probes in range(1, 4):
        clock.advance(13)
        await two_hosts.query_payment(NUMBER)
        assert 3 + probes == len(gateway.requests)
    gateway.script(reply(status=204))
    await two_hosts.close(NUMBER)

    assert len(gateway.requests) == 7, "the main host is asked first again"


def test_a_payment_never_probes_the_main_host(clock):
    """While switched only read-only calls go to the main host first, five a minute at most."""
    hosts = Hosts(MAIN, BACKUP, clock=clock)
    for _ in range(3):
        hosts.heard(MAIN, reached=False)
    clock.advance(100)

    assert hosts.switched
    assert (BACKUP, MAIN) == hosts.order(Operation.PREPAY) == hosts.order(Operation.REFUND)
    assert hosts.order(Operation.QUERY) == (MAIN, BACKUP)
    assert hosts.order(Operation.QUERY) == (BACKUP, MAIN)
    clock.advance(12)
    assert hosts.order(Operation.REFUND_QUERY) == (MAIN, BACKUP)


def test_single_failures_among_successes_do_not_switch(clock):
    """Three of the last five must fail."""
    hosts = Hosts(MAIN, BACKUP, clock=clock)

    for reached in (False, True, False, True, True, True, False, True, True):
        hosts.heard(MAIN, reached=reached)

    assert not hosts.switched


def test_without_a_backup_there_is_one_host_for_ever(clock):
    """Nothing to switch to."""
    hosts = Hosts(MAIN, None, clock=clock)
    for _ in range(9):
        hosts.heard(MAIN, reached=False)

    assert hosts.order(Operation.PREPAY) == (MAIN,)
    assert not hosts.switched


def test_refunds_slow_down_to_six_a_second_while_they_fail(clock):
    """WeChat counts failing refunds apart; the next good one ends the brake."""
    pacer = Pacer(clock=clock)
    assert pacer.delay(Operation.REFUND) == 0.0
    pacer.heard(Operation.REFUND, failed=True)

    waits = [pacer.delay(Operation.REFUND) for _ in range(4)]
    clock.advance(10.1)

    assert [pytest.approx(wait, abs=0.01) for wait in (waits[0], *(waits[0] + n / 6 for n in (1, 2, 3)))] == waits
    assert pacer.delay(Operation.REFUND) == 0.0


def test_a_call_that_would_wait_too_long_is_not_made(clock):
    """Beyond two seconds of queue nothing is reserved; prepay is never held."""
    pacer = Pacer(clock=clock)
    pacer.heard(Operation.REFUND, failed=True)

    waits = [pacer.delay(Operation.REFUND) for _ in range(20)]

    assert waits[-1] is None
    assert sum(wait is not None for wait in waits) == 13
    assert [pacer.delay(Operation.PREPAY) for _ in range(1000)] == [0.0] * 1000


async def test_a_held_back_refund_is_unclear_and_not_sent(client, gateway, reply):
    """The caller keeps its number and comes again; WeChat hears nothing."""
    gateway.script(reply(status=403, body={"code": "NOT_ENOUGH", "message": "x"}))
    first = await client.refund(b"{}", out_refund_no="R1")
    pacer = client._caller._pacer
    while pacer.delay(Operation.REFUND) is not None:
        pass

    held = await client.refund(b"{}", out_refund_no="R2")

    assert (Refused, "NOT_ENOUGH") == (type(first), first.code)
    assert (Unclear, "rate_limited", None) == (type(held), held.reason, held.status)
    assert len(gateway.requests) == 1
    assert json.loads(gateway.requests[0].body) == {}
