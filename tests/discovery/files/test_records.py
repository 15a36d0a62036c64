from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Endpoint, bound
from discovery.files.records import Record, is_finished, listed, parse
from discovery.source import Unavailable


def test_a_file_lists_hosts_ports_and_weights() -> None:
    text = b"# the fleet\n\n10.0.0.1 8080\n 10.0.0.2\t8080 * 2.5 # the big one\nusers-3.internal 80*3\n[::1] 9\r\n::2 9"
    assert parse("users", text) == (
        Record("10.0.0.1", True, 8080, 1, 3),
        Record("10.0.0.2", True, 8080, 2.5, 4),
        Record("users-3.internal", False, 80, 3, 5),
        Record("::1", True, 9, 1, 6),
        Record("::2", True, 9, 1, 7),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"10.0.0.1 80\n10.0.0.2 80\n10.0.0.3 http\n", "/etc/users:3:10: port expected, found 'http'"),
        (b"10.0.0.1\n", "/etc/users:1:9: port expected, the line ends"),
        (b"10.0.0.1 0\n", "/etc/users:1:10: port expected, found '0'"),
        (b"10.0.0.1 65536\n", "/etc/users:1:10: port expected, found '65536'"),
        (b"10.0.0.1 \xd9\xa8\n", "/etc/users:1:10: port expected, found '\u0668'"),
        (b"10.0.0.1 80 2\n", "/etc/users:1:13: '*' and a weight, or the end of the line expected, found '2'"),
        (b"10.0.0.1 80 *\n", "/etc/users:1:14: a weight above 0 expected, the line ends"),
        (b"10.0.0.1 80 * -1\n", "/etc/users:1:15: a weight above 0 expected, found '-1'"),
        (b"10.0.0.1 80 * nan\n", "/etc/users:1:15: a weight above 0 expected, found 'nan'"),
        (b"10.0.0.1 80 * 2 zone\n", "/etc/users:1:17: the end of the line expected, found 'zone'"),
        (b"300.0.0.1 80\n", "/etc/users:1:1: an IP address or a host name expected, found '300.0.0.1'"),
        (b"-users 80\n", "/etc/users:1:1: an IP address or a host name expected, found '-users'"),
        (b"* 80\n", "/etc/users:1:1: an IP address or a host name expected, found '*'"),
        (b"http://x 80\n", "/etc/users:1:1: an IP address or a host name expected, found 'http://x'"),
        (b"10.0.0.1 80\n\xff\n", "/etc/users:2:1: UTF-8 expected, found byte 0xff"),
    ],
)
def test_an_error_names_file_line_and_column(text: bytes, message: str) -> None:
    with pytest.raises(Unavailable) as error:
        parse("/etc/users", text)
    assert str(error.value) == message


def test_an_empty_file_and_one_of_comments_list_nothing() -> None:
    assert parse("users", b"") == parse("users", b"# none\n\n   \n") == ()


def test_only_a_last_line_with_its_end_is_finished() -> None:
    assert is_finished(b"")
    assert is_finished(b"10.0.0.1 8080\n")
    assert not is_finished(b"10.0.0.1 80")


def test_every_address_of_a_host_gets_the_port_and_the_weight() -> None:
    records = parse("users", b"users.internal 80 * 2\n10.0.0.9 80\n")
    assert listed(records, {"users.internal": ("10.0.0.1", "10.0.0.2")}) == bound(
        [Endpoint("10.0.0.1", 80, weight=2), Endpoint("10.0.0.2", 80, weight=2), Endpoint("10.0.0.9", 80)]
    )


@given(st.binary(max_size=200) | st.text(alphabet="10.:*# ab\n\t", max_size=100).map(str.encode))
def test_any_bytes_are_a_list_or_an_error(data: bytes) -> None:
    try:
        records = parse("users", data)
    except Unavailable:
        return
    assert all(0 < record.port < 65536 and record.weight > 0 for record in records)
