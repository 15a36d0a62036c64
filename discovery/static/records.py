"""An endpoint as it is written in the configuration. Pure.

endpoint := address ':' port [ '*' weight ]
address  := IPv4 | '[' IPv6 ']'
"""

from __future__ import annotations

import ipaddress
import math
import re

from discovery.address import Endpoint

_ENDPOINT = re.compile(
    r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:\[\]*\s]*)):(?P<port>\d{1,5})(?:\s*\*\s*(?P<weight>\S+))?", re.ASCII
)
MOST_PORT = 65535


def endpoint(text: str) -> Endpoint:
    """Raises ValueError."""
    found = _ENDPOINT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"an endpoint such as 10.0.0.1:8080, [::1]:8080 or 10.0.0.1:8080 * 2 expected, not {text!r}")
    port = int(found["port"])
    if not 1 <= port <= MOST_PORT:
        raise ValueError(f"a port between 1 and {MOST_PORT} expected, not {port}")
    return Endpoint(_address(found["v4"], found["v6"]), port, weight=_weight(found["weight"] or "1"))


def _address(v4: str | None, v6: str | None) -> str:
    try:
        return str(ipaddress.IPv4Address(v4) if v6 is None else ipaddress.IPv6Address(v6))
    except ValueError:
        raise ValueError(f"an IP address (IPv6 in brackets) expected, not {v4 if v6 is None else v6!r}") from None


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise ValueError(f"a weight above 0 expected, not {text!r}")
    return weight
