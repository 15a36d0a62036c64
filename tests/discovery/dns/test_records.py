from discovery.address import Bound, Endpoint
from discovery.dns import records
from discovery.dns.records import Srv


def test_only_the_lowest_priority_is_published() -> None:
    found = [Srv("a.", 80, 10, 1), Srv("b.", 80, 20, 1)]
    addresses = {"a.": ("10.0.0.1",), "b.": ("10.0.0.2",)}
    assert records.services(found, addresses) == Bound((Endpoint("10.0.0.1", 80, host="a."),))


def test_a_priority_whose_targets_have_no_address_gives_way_to_the_next() -> None:
    found = [Srv("a.", 80, 10, 1), Srv("b.", 80, 20, 1)]
    assert records.services(found, {"a.": (), "b.": ("10.0.0.2",)}) == Bound((Endpoint("10.0.0.2", 80, host="b."),))


def test_the_weight_of_a_target_is_shared_by_its_addresses() -> None:
    found = records.services(
        [Srv("a.", 80, 1, 9), Srv("b.", 80, 1, 0)], {"a.": ("10.0.0.1", "::1"), "b.": ("10.0.0.3",)}
    )
    assert {endpoint.address: endpoint.weight for endpoint in found.endpoints} == {
        "10.0.0.1": 4.5,
        "::1": 4.5,
        "10.0.0.3": 1.0,
    }


def test_the_target_dot_is_a_known_name_without_endpoints() -> None:
    found = [Srv(".", 0, 0, 0)]
    assert records.targets(found) == ()
    assert records.services(found, {}) == Bound()
