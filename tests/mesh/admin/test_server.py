"""The admin API of a real agent: questions good and bad, who may ask, and what it never tells."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mesh.admin.server import serving
from mesh.naming.dtab import Dtab
from scripts.consul import agent as consul_agent
from scripts.consul import find
from scripts.ports import free_ports
from scripts.running import TIELINE, agent, folder, service
from tests.catalogue import Catalogue, fake_at, sources
from tests.fakes.consul import instance
from tests.host import Host, host, running, settings

DTAB = "/svc => /#/files ; /svc/dotted => /#/files/a.b ; /svc/under => /#/files/a_b ; /svc/colon => /#/files/a:b"
ROUTERS = ("http", "second")


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    ports = free_ports(2)
    routers = [{"name": name, "port": port} for name, port in zip(ROUTERS, ports, strict=True)]
    with running(DTAB, routers=routers) as started:
        asyncio.run(started.agent.until_ready())
        yield replace(started, agent=replace(started.agent, port=ports[0]))
        asyncio.run(started.no_nacks())
        assert "Traceback" not in started.agent.log.read_text()


@asynccontextmanager
async def asking(socket: Path) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(socket))
    async with aiohttp.ClientSession("http://agent", connector=connector) as session:
        yield session


MALFORMED = [
    pytest.param("/explain", "a name is needed", id="no name"),
    pytest.param("/explain?name=", "a name is needed", id="empty name"),
    pytest.param("/explain?name=a%20b", "names no service", id="no host name"),
    pytest.param("/explain?name=%ff%fe", "names no service", id="bytes"),
    pytest.param("/explain?name=%00", "names no service", id="zero byte"),
    pytest.param("/explain?name=/svc//users", "position 5", id="path with a hole"),
    pytest.param("/explain?name=/svc/us%20ers", "position", id="path with a blank"),
    pytest.param("/explain?name=users&dtab=" + quote("/svc = /x"), "'=>' expected", id="table without arrow"),
    pytest.param("/explain?name=users&dtab=" + quote("/svc => /x ;\n/y => (/z"), "line 2", id="table, second line"),
    pytest.param("/explain?name=users&dtab=" + quote("/svc => 1.2.3 * /x"), "column", id="weight"),
    pytest.param("/explain?name=users&dtab=%ff", "expected", id="table of bytes"),
]


@pytest.mark.parametrize(("target", "said"), MALFORMED)
async def test_a_malformed_question_is_400_and_says_where(shared: Host, target: str, said: str) -> None:
    status, text = await shared.agent.ask(target)
    assert status == 400, text
    assert said in json.loads(text)["error"]


async def test_an_unknown_router_is_404_and_those_there_are_are_named(shared: Host) -> None:
    status, text = await shared.agent.ask("/explain?name=users&router=third")
    assert status == 404
    assert json.loads(text)["error"] == "no router 'third'; there are: http, second"


async def test_an_unknown_page_is_404_in_json(shared: Host) -> None:
    for target in ("/", "/nothing", "/explain/", "/status/more", "/STATUS"):
        status, text = await shared.agent.ask(target)
        assert status == 404, target
        assert "error" in json.loads(text)


@pytest.mark.parametrize("page", ["/healthz", "/explain?name=x", "/names", "/status", "/metrics"])
async def test_nothing_can_be_changed(shared: Host, page: str) -> None:
    async with asking(shared.agent.admin) as session:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            async with session.request(method, page, data=b"x" * 1000) as answer:
                assert answer.status == 405
                assert "error" in await answer.json()
                assert "GET" in answer.headers.get("allow", ""), "405 names no method that is allowed (RFC 9110)"


async def test_head_answers_as_get_does_without_a_body(shared: Host) -> None:
    async with asking(shared.agent.admin) as session:
        for page in ("/healthz", "/readyz", "/names", "/status", "/metrics"):
            async with session.head(page) as answer:
                assert answer.status == 200, page
                assert await answer.read() == b""


async def test_many_clients_ask_at_once_and_one_that_is_rude_disturbs_none(shared: Host) -> None:
    reader, writer = await asyncio.open_unix_connection(str(shared.agent.admin))
    writer.write(b"GET /status HTTP/1.1\r\nhost: x\r\nconte")
    nobody, gone = await asyncio.open_unix_connection(str(shared.agent.admin))
    gone.write(b"\x00\xff garbage\r\n\r\n")
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(shared.agent.ask(page)) for page in ("/status", "/names", "/metrics") * 10]
    assert {each.result()[0] for each in answers} == {200}
    assert b"400" in await nobody.read()
    for each in (writer, gone):
        each.close()
    del reader


async def test_only_the_owner_may_ask(shared: Host) -> None:
    run_dir = shared.agent.folder / "run"
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.agent.admin.stat().st_mode) == 0o600
    assert stat.S_IMODE((shared.agent.folder / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((run_dir / "bootstrap.json").stat().st_mode) == 0o600


async def test_a_run_dir_that_was_open_to_all_is_closed() -> None:
    with folder() as place:
        (place / "run").mkdir()
        (place / "run").chmod(0o755)
        with agent(place, settings(place / "disco", "/svc => /#/files", {})) as started:
            await started.until_ready()
            assert stat.S_IMODE((place / "run").stat().st_mode) == 0o700


async def test_an_explanation_of_a_name_that_no_branch_answers_is_bounded(shared: Host) -> None:
    """Every lookup branches in two: a walk without limits would not end."""
    table = quote("/svc => /svc | /svc ; /a => 1 * /svc & 1 * /svc")
    for name in ("users", "/a/users"):
        answer = await shared.json(f"/explain?name={name}&dtab={table}")
        assert answer["outcome"] == "broken"


async def test_a_local_table_is_explained_and_changes_nothing(shared: Host) -> None:
    async with service("here") as port:
        shared.put("here", port)
        answer = await shared.json("/explain?name=elsewhere&dtab=" + quote("/svc/elsewhere => /#/files/here"))
        assert answer["outcome"] == "bound"
        assert answer["local_dtab"]
        assert (await shared.call("elsewhere")).status == 404


async def test_explaining_leaves_no_name_in_use(shared: Host) -> None:
    before = await shared.names()
    for number in range(50):
        await shared.json(f"/explain?name=asked{number}")
    assert (await shared.names()).keys() == before.keys()


async def test_metrics_are_prometheus_text_without_a_family_or_sample_twice(shared: Host) -> None:
    async with service("counted") as port:
        for file in ("a.b", "a_b", "a:b"):
            shared.put(file, port)
        for name in ("dotted", "under", "colon", "unknown"):
            await shared.call(name)
        status, text = await shared.agent.ask("/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(text))
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    samples = [(each.name, *sorted(each.labels.items())) for family in families for each in family.samples]
    assert [sample for sample, count in Counter(samples).items() if count > 1] == []
    assert {"tieline_ready", "tieline_names", "tieline_binds_total"} <= set(names)
    assert all(name.startswith("tieline_") for name in names)
    assert all(family.documentation for family in families)
    bound = {each.labels.get("bound") for family in families for each in family.samples}
    assert bound >= {"/#/files/a.b", "/#/files/a_b", "/#/files/a:b"}


async def test_the_routers_are_told_apart(shared: Host) -> None:
    first = await shared.json("/explain?name=users")
    second = await shared.json("/explain?name=users&router=second")
    assert (first["router"], second["router"]) == ROUTERS


async def test_it_listens_on_loopback_only_where_configured() -> None:
    (port,) = free_ports(1)
    async with host(admin={"port": port}), aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
        listening = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], check=False, capture_output=True, text=True)
        if listening.returncode == 0 and listening.stdout:
            assert f"127.0.0.1:{port}" in listening.stdout
            assert "0.0.0.0" not in listening.stdout.split(f"127.0.0.1:{port}")[0]


class Broken:
    """What the agent knows, when all of it fails."""

    def ready(self) -> bool:
        return False

    async def explain(self, name: str, router: str | None, local: Dtab | None) -> dict[str, object]:
        raise RuntimeError(f"{name} {router} {local}")

    def names(self) -> dict[str, object]:
        raise KeyError("names")

    async def catalog(self) -> dict[str, object]:
        raise OSError("catalog")

    async def status(self) -> dict[str, object]:
        raise RuntimeError("s3cret")

    async def metrics(self) -> str:
        raise RuntimeError("metrics")


async def test_a_defect_is_500_for_its_asker_and_logged_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    socket = tmp_path / "admin.sock"
    async with serving(Broken(), socket, "127.0.0.1", None), asking(socket) as session:
        for page in ("/explain?name=x", "/names", "/names?all=1", "/status", "/metrics"):
            async with session.get(page) as answer:
                assert answer.status == 500, page
                assert await answer.json() == {"error": "internal error; the agent's log has the details"}
        async with session.get("/healthz") as answer:
            assert answer.status == 200
        async with session.get("/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "not ready\n")
    assert len([record for record in caplog.records if record.exc_info]) == 5


TOKEN = "3f1c0ffe-5ec2-e7ab-cdef-0123456789ab"
ACLS = f'''acl {{
  enabled = true
  default_policy = "deny"
  tokens {{ master = "{TOKEN}" agent = "{TOKEN}" }}
}}'''


async def _everything(started: Host) -> str:
    """All that an operator could read or paste somewhere."""
    pages = ["/status", "/names", "/names?all=1", "/explain?name=users", "/explain?name=hidden", "/metrics"]
    texts = [(await started.agent.ask(page))[1] for page in pages]
    for name in ("users", "hidden"):
        answer = await started.call(name)
        texts += [answer.body, str(answer.headers)]
    async with asking(started.agent.folder / "run" / "envoy.sock") as envoy:
        for page in ("/config_dump?include_eds", "/server_info", "/clusters", "/stats"):
            async with envoy.get(page, headers={"host": "envoy"}) as said:
                texts.append(await said.text())
    check = [TIELINE, "config", "check", str(started.agent.config)]
    texts.append(subprocess.run(check, check=False, capture_output=True, text=True).stdout)
    written = [*(started.agent.folder / "run").iterdir(), *(started.agent.folder / "state").iterdir()]
    texts += [file.read_bytes().decode(errors="replace") for file in written if file.is_file()]
    for pid in started.agent.children().values():
        texts.append(Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text())
    return "\n".join([*texts, started.agent.log.read_text()])


@pytest.mark.skipif(find() is None, reason="no consul here: `python -m scripts.consul --fetch` says why")
async def test_a_token_that_works_is_shown_nowhere() -> None:
    async with consul_agent(hcl=ACLS, token=TOKEN) as consul, service("users") as port:
        asked = sources(consul.url, token=TOKEN)
        async with host("/svc => /#/consul/dc1", sources=asked, log={"level": "debug"}) as started:
            await Catalogue(consul).register("users", port)
            await started.until("users", "users")
            text = await _everything(started)
            assert "/#/consul/dc1/users" in text
            assert TOKEN not in text


@pytest.mark.parametrize("token", [TOKEN, "od%+/=~'-3f1c0ffe"], ids=["plain", "odd"])
async def test_a_token_that_is_refused_is_shown_nowhere(token: str) -> None:
    (consul_port,) = free_ports(1)
    async with fake_at(consul_port) as fake, service("users") as port:
        fake.put("users", instance("127.0.0.1", port))
        fake.status = 403
        fake.garble("users", f"token {token} is not known".encode())
        asked = sources(fake.url, token=token)
        async with host("/svc => /#/consul/dc1", sources=asked, log={"level": "debug"}) as started:
            assert (await started.call("users")).status == 503

            text = await _everything(started)
            fake.unexpected.clear()
        assert "3f1c0ffe" not in text
