"""``payd key``: fresh secrets."""

from __future__ import annotations

import base64
import re
import secrets
from typing import Any, Final

import click

from payd.commands import output

#: Random bytes of a webhook secret. Source: Standard Webhooks 1.0.0, 24 to 64 bytes.
WEBHOOK_SECRET_BYTES: Final = 32


@click.group()
def key() -> None:
    """API keys and webhook secrets."""


@key.command()
@click.option("--scopes", multiple=True, metavar="SCOPE,...", help="What the key may do; all by default.")
@click.option("--webhook", is_flag=True, help="Make a webhook secret (whsec_...) instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.argument("more_scopes", nargs=-1, metavar="")
def new(scopes: tuple[str, ...], more_scopes: tuple[str, ...], webhook: bool, as_json: bool) -> None:
    """Make a fresh API key and its hash entry.

    The key goes to the program that calls payd and is shown only here; the hash entry goes into pay.api_keys of the
    configuration. SIGHUP makes a running daemon read its keys again.

    \b
    Scopes: order_create order_query order_close refund refund_query
            discrepancy_resolve webhook_resend
    """
    if more_scopes and not scopes:
        raise click.UsageError(f"unexpected argument {more_scopes[0]!r}; scopes follow --scopes")
    if webhook:
        _say_webhook_secret(as_json)
        return
    from payd.system import SystemEntropy
    from payd.web.api_keys import new_key

    wanted = [name for text in (*scopes, *more_scopes) for name in re.split(r"[,\s]+", text) if name]
    try:
        made = new_key(tuple(dict.fromkeys(wanted)), entropy=SystemEntropy())
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--scopes") from exc
    entry: dict[str, Any] = {"api_keys": [made.hash_entry]}
    if made.scopes:
        entry["api_key_scopes"] = {made.hash_entry: list(made.scopes)}
    if as_json:
        output.say_json({"key": made.key, "hash_entry": made.hash_entry, "scopes": list(made.scopes), "pay": entry})
        return
    output.say([f"key         {made.key}", f"hash entry  {made.hash_entry}", "", 'for "pay" in config.json:'])
    output.say_json(entry)


def _say_webhook_secret(as_json: bool) -> None:
    secret = f"whsec_{base64.b64encode(secrets.token_bytes(WEBHOOK_SECRET_BYTES)).decode()}"
    output.say_json({"secret": secret}) if as_json else output.say(secret)
