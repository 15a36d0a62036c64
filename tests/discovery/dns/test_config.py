import pytest
from pydantic import ValidationError

from discovery.dns.config import DnsConfig


def test_names_have_one_segment_below_the_prefix() -> None:
    assert DnsConfig().root.show() == "/#/dns"
    assert DnsConfig(prefix="corp").root.show() == "/#/corp"
    assert DnsConfig().name_segments == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"nameservers": ["ns.example"]}, "the address of a name server"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"record": "txt"}, "'auto', 'srv' or 'a'"),
        ({"longest_ttl": "10ms"}, "greater than or equal to 1"),
        ({"timeout": 0}, "greater than 0"),
        ({"ttl": 5}, "Extra inputs"),
    ],
)
def test_a_mistake_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DnsConfig.model_validate({"kind": "dns", **wrong})
