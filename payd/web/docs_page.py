"""The OpenAPI document as one readable HTML page: no scripts, no outside assets, everything escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from payd.web.problems import PROBLEMS

STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .6rem .8rem; border: 1px solid #8886; border-radius: 6px; }
h2 { margin-top: 2.4rem; border-bottom: 1px solid #8886; }
h3 { margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #8883; }
.method { font-weight: 700; }
.note { opacity: .75; }
"""


def docs_page(document: Mapping[str, Any]) -> str:
    """Write the page."""
    return "\n".join(_page(document))


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>"
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
    yield '<p><a href="/openapi.json">openapi.json</a> · <a href="#problems">problems</a> · '
    yield '<a href="#models">models</a></p>'
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['description'])}</h2>"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(path, method, operation)
    yield from _problems()
    yield '<h2 id="models">Models</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield from _model(name, schema)
    yield "</body></html>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h3 id="{escape(operation["operationId"])}"><span class="method">{method.upper()}</span> '
    yield f"<code>{escape(path)}</code></h3><p>{escape(operation['summary'])}. "
    yield f'<span class="note">{escape(operation.get("description", _openness(operation)))}</span></p>'
    parameters = operation.get("parameters", ())
    if parameters:
        yield "<table><tr><th>Parameter</th><th>In</th><th>Rule</th></tr>"
        for parameter in parameters:
            need = "required" if parameter["required"] else "optional"
            rule = ", ".join(filter(None, (need, _type(parameter["schema"]), escape(parameter.get("description", "")))))
            yield f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{parameter['in']}</td><td>{rule}</td></tr>"
        yield "</table>"
    if "requestBody" in operation:
        yield f"<p>Body: {_type(operation['requestBody']['content']['application/json']['schema'])}</p>"
    yield "<table><tr><th>Status</th><th>Answer</th><th>Body</th></tr>"
    for status, response in operation["responses"].items():
        bodies = [_type(content["schema"]) for content in response.get("content", {}).values()]
        yield f"<tr><td>{status}</td><td>{_ticked(response['description'])}</td><td>{', '.join(bodies)}</td></tr>"
    yield "</table>"


def _openness(operation: Mapping[str, Any]) -> str:
    return "Any valid key will do." if operation["security"] else "Public."


def _ticked(text: str) -> str:
    """Turn words in backticks into code, the rest into plain text."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _problems() -> Iterator[str]:
    yield '<h2 id="problems">Problems</h2>'
    yield "<table><tr><th>Status</th><th>Code</th><th>Try again?</th><th>Meaning</th></tr>"
    for problem in PROBLEMS:
        again = "yes" if problem.retryable else "no"
        yield f'<tr id="problem-{problem.code}"><td>{problem.status}</td><td><code>{problem.code}</code></td>'
        yield f"<td>{again}</td><td>{escape(problem.en.title)}<br>{escape(problem.zh.title)}</td></tr>"
    yield "</table>"


def _model(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h3 id="model-{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
    if "enum" in schema:
        yield f"<p>{_type(schema)}</p>"
    if "properties" in schema:
        yield "<table><tr><th>Member</th><th>Type</th><th></th></tr>"
        for member, inner in schema["properties"].items():
            star = "" if member in schema.get("required", ()) else '<span class="note"> optional</span>'
            yield f"<tr><td><code>{escape(member)}</code>{star}</td><td>{_type(inner)}</td>"
            yield f"<td>{escape(inner.get('description', ''))}</td></tr>"
        yield "</table>"
    for example in schema.get("examples", ()):
        yield f"<pre>{escape(json.dumps(example, ensure_ascii=False, indent=2))}</pre>"


BOUNDS: Final = (
    ("minLength", "at least {} characters"), ("maxLength", "at most {} characters"), ("minimum", "from {}"),
    ("maximum", "to {}"), ("minItems", "at least {} entries"), ("maxItems", "at most {} entries"),
    ("maxProperties", "at most {} members"), ("pattern", "matches <code>{}</code>"), ("default", "default {}"),
)  # fmt: skip


def _type(schema: Mapping[str, Any]) -> str:
    """Say a schema in a few words, with a link where it names a model."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[1])
        return f'<a href="#model-{name}">{name}</a>'
    for union in ("anyOf", "allOf"):
        named = [option for option in schema.get(union, ()) if option.keys() & {"type", "$ref", "enum", "const"}]
        if named:
            return " or ".join(_type(option) for option in named)
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    words = [escape(str(schema.get("format") or schema.get("type", "anything")))]
    if "items" in schema:
        words.append(f"of {_type(schema['items'])}")
    bounds = [text.format(escape(str(schema[key]))) for key, text in BOUNDS if schema.get(key) is not None]
    return " ".join(words) + (f" ({', '.join(bounds)})" if bounds else "")
