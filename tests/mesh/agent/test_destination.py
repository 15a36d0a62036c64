"""What callers learn: where a request went, if they ask and may; why it failed, unless that is hidden from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scripts.ports import free_port
from tests.host import Host, host
from tests.upstream import upstream

SHOWN = ("l5d-dst-service", "l5d-dst-client")
ASKED = {"l5d-dst-show": "1"}


def router(**keys: object) -> list[dict[str, object]]:
    return [{"name": "http", "port": free_port(), **keys}]


def at(host: Host, routers: list[dict[str, object]]) -> Host:
    """The same host, seen from the port of its own router."""
    port = routers[0]["port"]
    assert isinstance(port, int)
    return replace(host, agent=replace(host.agent, port=port))


async def test_who_asks_is_told_where_the_request_went_and_nobody_else() -> None:
    routers = router(show_destination="on_request")
    async with upstream("one") as one, host(routers=routers) as started:
        here = at(started, routers)
        here.put("users", one.port)
        first = await here.call("users", **ASKED)
        known = await here.call("users", **ASKED)
        plain = await here.call("users")
        missing = await here.call("missing", **ASKED)
        await here.no_nacks()
    assert [known.headers[name] for name in SHOWN] == ["/svc/users", "/#/files/users"]
    assert [first.headers[name] for name in SHOWN] == ["/svc/users", "/#/files/users"]
    assert not set(plain.headers) & set(SHOWN)
    assert missing.status == 404
    assert not {missing.headers.get(name) for name in SHOWN} & {"/svc/missing"}


async def test_nobody_is_told_where_that_is_not_said() -> None:
    async with upstream("one") as one, host() as started:
        started.put("users", one.port)
        assert not set((await started.call("users", **ASKED)).headers) & set(SHOWN)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, True),
        ({"errors": "hidden"}, False),
        ({"address": "0.0.0.0"}, False),
        ({"address": "0.0.0.0", "errors": "told"}, True),
    ],
    ids=str,
)
async def test_errors_say_why_to_this_host_and_to_others_where_it_is_said(keys: dict[str, object], told: bool) -> None:
    routers = router(**keys)
    async with upstream("one") as one, host(routers=routers) as started:
        here = at(started, routers)
        here.put("dead", free_port())
        here.put("empty", lines="")
        here.put("users", one.port)
        one.status = 503
        own = await here.call("users")
        answers = [await here.call(name) for name in ("dead", "dead", "empty", "empty", "missing", ".")]
        await here.no_nacks()
    assert (own.status, own.body) == (503, "one"), "the answers of services are theirs"
    assert [answer.status for answer in answers] == [503, 503, 503, 503, 404, 400]
    assert {bool(answer.err) for answer in answers} == {told}
    if not told:
        assert {answer.body for answer in answers} == {"error 503\n", "error 404\n", "error 400\n"}
        assert not any("tieline" in value for answer in answers for value in answer.headers.values())
