from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.control import control


async def test_health_says_what_is_wrong_with_a_source() -> None:
    nobody = [{"kind": "consul", "address": "http://127.0.0.1:1"}]
    async with control(sources=nobody, naming={"bind_timeout": "50ms"}) as served:
        assert (await served.get("/v1/health")).json["ok"]
        await served.get("/api/1/bind/default?path=/%23/consul/dc1/users")
        health = (await served.get("/v1/health")).json
        assert health["sources"] == {"/#/consul": "failed"}
        assert health["wrong"] == ["the source /#/consul is failed"]
        [row] = (await served.get("/v1/sources")).json["sources"]
        assert (row["prefix"], row["kind"], row["state"], row["failed"]) == ("/#/consul", "consul", "failed", 1)
        assert row["reason"]


async def test_health_says_that_the_tokens_file_is_bad_and_the_last_one_counts() -> None:
    async with control() as served:
        await served.get("/v1/health")
        (served.folder / "tokens.yaml").write_text("tokens: {}")
        health = (await served.get("/v1/health")).json
        assert not health["ok"]
        assert "the tokens_file can't be used, the last good one counts" in health["wrong"][0]
        assert (await served.ask("PUT", "/v1/namespaces/a", json={"dtab": "/a => /b"})).status == 200


async def test_metrics_read_as_prometheus_reads_them() -> None:
    async with control() as served:
        await served.put("/a => /b")
        await served.put("/a => /c")
        said = await served.get("/metrics")
        families = {each.name: each for each in text_string_to_metric_families(said.body.decode())}
        [sample] = families["tieline_control_table_version"].samples
        assert (sample.labels, sample.value) == ({"namespace": "default"}, 2.0)
        assert set(families) == {
            "tieline_control_agents",
            "tieline_control_frames",
            "tieline_control_store_held_seconds",
            "tieline_control_table_version",
            "tieline_control_audit_failures",
            "tieline_control_preview_seconds",
            "tieline_control_watch_streams",
        }
        assert families["tieline_control_preview_seconds"].samples[0].value > 0


async def test_the_audit_log_tells_who_did_what_from_where() -> None:
    async with control() as served:
        body = {"dtab": "/a => /b", "why": "because"}
        await served.ask("PUT", "/v1/namespaces/default", json=body)
        await served.ask("PUT", "/v1/namespaces/default", json={"dtab": "/a"})
        await served.ask("PUT", "/v1/namespaces/default", json=body, by="reader")
        await served.ask("PUT", "/v1/namespaces/default", json=body, headers={"If-Match": '"x"'})
        await served.ask("PUT", "/v1/namespaces/default", json=body, by=None)
        records = (await served.get("/v1/audit?limit=5")).json["records"]
        shown = [(each["who"], each["via"], each["result"], each["status"], each["why"]) for each in records]
        assert shown == [
            ("nobody", "nobody", "refused", 401, ""),
            ("writer", "token", "conflicted", 412, "because"),
            ("reader", "token", "refused", 403, ""),
            ("writer", "token", "refused", 400, ""),
            ("writer", "token", "made", 200, "because"),
        ]
        assert {(each["address"], each["what"], each["namespace"]) for each in records} == {
            ("127.0.0.1", "PUT /v1/namespaces/default", "default")
        }
        assert "'=>' expected" in records[3]["error"]
        assert len((await served.get("/v1/audit?limit=2")).json["records"]) == 2
