"""An agent with its real Envoy, and moto's Cloud Map behind it."""

from __future__ import annotations

from discovery.path import Path
from scripts.moto import REGION, moto
from scripts.running import end, service
from tests.discovery.cloudmap.test_moto import MotoWorld, client
from tests.host import host


async def test_a_name_in_cloud_map_is_called_through_the_proxy_also_when_aws_is_gone() -> None:
    users = Path(("prod", "users"))
    async with moto() as server, service("blue") as blue, service("green") as green:
        settings = {"every": "50ms", "health_every": "200ms", "confirm_after": "200ms", "calls_per_second": 500}
        source = {"kind": "cloudmap", "region": REGION, "endpoint_url": server.url, **settings}
        with client(server.url) as asked:
            world = MotoWorld(asked)
            await world.put(users, ("127.0.0.1", blue))
            async with host(dtab="/svc => /#/cloudmap/prod", sources=[source]) as running:
                await running.until("users", "blue")
                await world.put(users, ("127.0.0.1", green))
                await running.until("users", "green")
                assert (await running.call("nobody")).status == 404
                end(server.process)
                await running.until("users", "green")
                await running.no_nacks()
