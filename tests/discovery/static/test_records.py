from __future__ import annotations

import pytest

from discovery.address import Endpoint
from discovery.static.records import endpoint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:8080", Endpoint("10.0.0.1", 8080)),
        (" 10.0.0.1:8080 * 2.5 ", Endpoint("10.0.0.1", 8080, weight=2.5)),
        ("10.0.0.1:8080*2", Endpoint("10.0.0.1", 8080, weight=2)),
        ("[2001:db8:0::7]:80", Endpoint("2001:db8::7", 80)),
    ],
)
def test_an_endpoint_is_address_port_and_weight(text: str, expected: Endpoint) -> None:
    assert endpoint(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an endpoint such as 10.0.0.1:8080"),
        ("10.0.0.1", "an endpoint such as 10.0.0.1:8080"),
        ("::1:80", "an endpoint such as 10.0.0.1:8080"),
        ("users.internal:80", "an IP address (IPv6 in brackets) expected, not 'users.internal'"),
        ("[10.0.0.1]:80", "an IP address (IPv6 in brackets) expected, not '10.0.0.1'"),
        ("300.0.0.1:80", "an IP address (IPv6 in brackets) expected, not '300.0.0.1'"),
        ("10.0.0.1:0", "a port between 1 and 65535 expected, not 0"),
        ("10.0.0.1:65536", "a port between 1 and 65535 expected, not 65536"),
        ("10.0.0.1:80 * 0", "a weight above 0 expected, not '0'"),
        ("10.0.0.1:80 * nan", "a weight above 0 expected, not 'nan'"),
        ("10.0.0.1:80 * inf", "a weight above 0 expected, not 'inf'"),
        ("10.0.0.1:80 * two", "a weight above 0 expected, not 'two'"),
        ("10.0.0.1:80 2", "an endpoint such as 10.0.0.1:8080"),
        ("10.0.0.1:٨٠", "an endpoint such as 10.0.0.1:8080"),
    ],
)
def test_what_is_no_endpoint_says_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        endpoint(text)
    assert message in str(error.value)
