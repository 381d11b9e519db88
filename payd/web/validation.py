"""pydantic's errors -> Complaints: dotted field names, and issues out of the table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from payd import limits
from payd.errors import Complaint
from payd.web.issues import issue

#: pydantic's error type -> (issue, {our parameter: pydantic's}).
TRANSLATED: Final[dict[str, tuple[str, Mapping[str, str]]]] = {
    "missing": ("required", {}),
    "string_type": ("string", {}),
    "int_type": ("integer", {}),
    "int_from_float": ("integer", {}),
    "int_parsing": ("integer", {}),
    "int_parsing_size": ("integer", {}),
    "bool_type": ("boolean", {}),
    "dict_type": ("object", {}),
    "model_type": ("object", {}),
    "model_attributes_type": ("object", {}),
    "list_type": ("array", {}),
    "greater_than_equal": ("at_least", {"limit": "ge"}),
    "less_than_equal": ("at_most", {"limit": "le"}),
    "literal_error": ("one_of", {"choices": "expected"}),
    "enum": ("one_of", {"choices": "expected"}),
    "too_short": ("too_few", {"limit": "min_length"}),
    "too_long": ("too_many", {"limit": "max_length"}),
}
FIELD_CHARS_MAX: Final = 100  # an unknown member's name is the caller's text: cut
NEAR_CHARS_MAX: Final = 40  # a longer name resembles none of ours, and comparing is slow


def complaints_of(exc: ValidationError, model: type[BaseModel]) -> list[Complaint]:
    """List every error of a failed validation (of a hostile input the first ones), in the order of the fields."""
    errors = exc.errors(include_url=False, include_input=False)[: limits.COMPLAINTS_MAX]
    return [_complaint(error, model) for error in errors]


def _complaint(error: ErrorDetails, model: type[BaseModel]) -> Complaint:
    kind, context = error["type"], error.get("ctx", {})
    location = tuple(str(part) for part in error["loc"] if part != "[key]")
    field = ".".join(location)[:FIELD_CHARS_MAX]
    if kind == "extra_forbidden":
        return Complaint(field, _unknown(location, model))
    if kind in TRANSLATED:
        name, renamed = TRANSLATED[kind]
        params: dict[str, Any] = {ours: context[theirs] for ours, theirs in renamed.items()}
        if "choices" in params:
            params["choices"] = str(params["choices"]).replace("'", "").replace(" or ", ", ")
        return Complaint(field, issue(name, **params))
    return Complaint(field, error["msg"])


def _unknown(location: tuple[str, ...], model: type[BaseModel]) -> str:
    """Name the nearest known member of the object the unknown one stands in, if one is near."""
    home: type[BaseModel] | None = model
    for part in location[:-1]:
        home = _inner(home, part) if home is not None and not part.isdigit() else home
    known = home.model_fields if home is not None and len(location[-1]) <= NEAR_CHARS_MAX else ()
    near = difflib.get_close_matches(location[-1], known, n=1)
    return issue("unknown_near", near=near[0]) if near else issue("unknown")


def _inner(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """Find the model of a member, through ``X | None`` and ``list[X]``."""
    field = model.model_fields.get(name)
    pending: list[Any] = [field.annotation] if field is not None else []
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        pending += getattr(annotation, "__args__", ())
    return None
