"""No policy that is accepted is refused by Envoy: what stands in the good files, and every number at its ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml

from tests import manual
from tests.host import host
from tests.upstream import upstream

CORPUS = Path(__file__).parents[1] / "config" / "corpus"
MANUAL = Path(__file__).parents[3] / "docs" / "traffic.md"
SHORT, LONG = "1ms", "876000h"
EXTREMES: list[dict[str, Any]] = [
    {"timeout": dict.fromkeys(("request", "per_try", "grpc", "idle", "connect"), SHORT)},
    {"timeout": {**dict.fromkeys(("request", "per_try", "grpc", "idle", "connect"), LONG), "deadline": True}},
    {"timeout": dict.fromkeys(("request", "per_try", "grpc", "idle"))},
    {"retries": {"num_retries": 1_000_000, "backoff": {"base": SHORT, "max": LONG}, "budget": {"percent": 100}}},
    {"retries": {"backoff": {"base": LONG, "max": LONG}, "budget": {"percent": 0.001, "floor": 0}}},
    {"retries": {"methods": [], "statuses": [400, 599]}},
    {"limits": {"connections": 1, "pending": 1, "requests": 1}},
    {"limits": {"connections": 2**32 - 1, "pending": 2**32 - 1, "requests": 2**32 - 1}},
    {"ejection": {"interval": SHORT, "base_time": SHORT, "max_time": SHORT, "max_share": 0, "gateway_failures": 1}},
    {
        "ejection": {
            "interval": LONG,
            "base_time": LONG,
            "max_time": LONG,
            "max_share": 100,
            "consecutive_5xx": 2**32 - 1,
        }
    },
    {"ejection": {"success_rate": {"stdev_factor": 0.001, "minimum_hosts": 1, "request_volume": 1}}},
    {"ejection": {"success_rate": {"stdev_factor": 1000, "minimum_hosts": 10**6, "request_volume": 10**6}}},
    {"balancing": {"choices": 100, "slow_start": {"window": SHORT, "aggression": 0.001}, "panic_threshold": 0}},
    {"balancing": {"choices": 2, "slow_start": {"window": LONG, "aggression": 1000}, "panic_threshold": 100}},
    {
        "balancing": {
            "policy": "ring_hash",
            "hash_on": [{"cookie": "c", "ttl": LONG}, {"header": "x"}, {"source": True}],
        }
    },
    {"health_check": {"interval": SHORT, "timeout": SHORT, "unhealthy_after": 1, "healthy_after": 1}},
    {"health_check": {"interval": LONG, "timeout": LONG, "unhealthy_after": 10**6, "healthy_after": 10**6}},
    *({"health_check": {"protocol": protocol}} for protocol in ("http", "grpc", "tcp")),
    {"failover": True},
]


def written() -> list[dict[str, Any]]:
    """Those of the good files and of the manual. What names files of its own is tried in `test_origination.py`."""
    texts = [file.read_text() for file in sorted(CORPUS.glob("*.good.yaml"))]
    shown = [block for block in manual.blocks(MANUAL) if block.kind == "yaml" and block.target != "wrong.yaml"]
    texts += [block.text for block in shown if "policies:" in block.text]
    entries = [entry for text in texts for entry in (yaml.safe_load(text) or {}).get("policies") or ()]
    return [
        {key: value for key, value in entry.items() if key != "match"}
        for entry in entries
        if not {"ca", "cert"} & (entry.get("tls") or {}).keys()
    ]


async def test_envoy_takes_every_policy_that_we_accept() -> None:
    entries = [*EXTREMES, *written()]
    policies = [{"match": f"/svc/n{number}", **entry} for number, entry in enumerate(entries)]
    async with upstream("ok") as up, host("/svc => /#/files | /#/files/other", policies=policies) as started:
        started.put("other", up.port)
        for number in range(len(entries)):
            started.put(f"n{number}", up.port)
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(started.call(f"n{number}")) for number in range(len(entries))]
            # gRPC has routes and perhaps clusters of its own.
            for number in range(len(entries)):
                tasks.create_task(
                    started.call(f"n{number}", method="POST", **{"content-type": "application/grpc", "te": "trailers"})
                )
        refused = {
            number: call.result().body for number, call in enumerate(calls) if "Envoy refused" in call.result().body
        }
        assert not {str(entries[number]): body for number, body in refused.items()}
        await started.no_nacks()
