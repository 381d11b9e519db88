"""``payd openapi``: the HTTP API's description."""

from __future__ import annotations

import click

from payd.commands import output


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the HTTP API.

    The daemon serves the same at /openapi.json, and a readable page at /docs.
    """
    from payd.web.openapi import openapi_document
    from payd.web.routes import ROUTES

    output.say_json(openapi_document(ROUTES))
