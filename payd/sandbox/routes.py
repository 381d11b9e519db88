"""The simulated API as a table: path, methods, and the name under which faults and limits know it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. ``early_header_check`` is where a capture saw Accept checked before the signature."""

    method: str
    template: str
    api: str
    signed: bool = True
    early_header_check: bool = True

    @property
    def pattern(self) -> re.Pattern[str]:
        """The template as a pattern over the raw path; a parameter is one segment, still encoded."""
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.template)))


_PAY = "/v3/pay/transactions"
_REFUNDS = "/v3/refund/domestic/refunds"
ROUTES = (
    *(
        Route("POST", f"{_PAY}/{product}", "prepay", early_header_check=False)
        for product in ("native", "jsapi", "app", "h5")
    ),
    Route("GET", _PAY + "/out-trade-no/{out_trade_no}", "query", early_header_check=False),
    Route("GET", _PAY + "/id/{transaction_id}", "query", early_header_check=False),
    Route("POST", _PAY + "/out-trade-no/{out_trade_no}/close", "close", early_header_check=False),
    Route("POST", _REFUNDS, "refund"),
    Route("GET", _REFUNDS + "/{out_refund_no}", "refund_query"),
    Route("POST", _REFUNDS + "/{refund_id}/apply-abnormal-refund", "abnormal_refund"),
    Route("GET", "/v3/bill/tradebill", "trade_bill"),
    Route("GET", "/v3/bill/fundflowbill", "fund_bill"),
    Route("GET", "/v3/billdownload/file", "download", signed=False),
    Route("GET", "/v3/certificates", "certificates"),
    Route("POST", "/v3/security/echo", "echo"),
)


class Router:
    """Finds the route of a raw path; fixed paths by one look-up, the few others by pattern."""

    def __init__(self) -> None:
        self._fixed: dict[str, dict[str, tuple[Route, Mapping[str, str]]]] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in ROUTES:
            if "{" in route.template:
                self._patterns.append((route.pattern, route))
            else:
                product = {"product": route.template.rpartition("/")[2]} if route.api == "prepay" else {}
                self._fixed.setdefault(route.template, {})[route.method] = (route, product)

    def find(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | int:
        """The route with its decoded path parameters, or 404 or 405."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed.get(method, 405)
        known = False
        for pattern, route in self._patterns:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            known = True
            if route.method == method:
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
        return 405 if known else 404
