"""Third parties judge the fake: the official synchronous client, and kubectl where there is one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException

from tests.fakes.kubernetes import FakeKubernetes, fake_kubernetes, kubeconfig

T = TypeVar("T")
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on PATH")
PORTS = [{"name": "http", "port": 8080, "protocol": "TCP"}]


def ready(address: str) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": True}}


@pytest.fixture
async def fake() -> AsyncIterator[FakeKubernetes]:
    async with fake_kubernetes() as running:
        running.put_service("shop", "users", [{"name": "http", "port": 80}])
        running.put_slice("shop", "users", "users-1", [ready("10.0.0.1")], PORTS)
        yield running


class Official:
    """The official client, in a thread of its own."""

    def __init__(self, url: str, **more: Any) -> None:
        self.api = kubernetes.client.ApiClient(kubernetes.client.Configuration(host=url, **more))
        self.core = kubernetes.client.CoreV1Api(self.api)
        self.discovery = kubernetes.client.DiscoveryV1Api(self.api)

    async def does(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await asyncio.to_thread(call, *args, **kwargs)


@pytest.fixture
async def official(fake: FakeKubernetes) -> AsyncIterator[Official]:
    client = Official(fake.url)
    yield client
    client.api.close()


async def test_the_official_client_reads_what_was_put(fake: FakeKubernetes, official: Official) -> None:
    listed = await official.does(official.discovery.list_namespaced_endpoint_slice, "shop")
    assert [each.endpoints[0].addresses for each in listed.items] == [["10.0.0.1"]]
    assert listed.items[0].metadata.labels == {"kubernetes.io/service-name": "users"}
    service = await official.does(official.core.read_namespaced_service, "users", "shop")
    assert [(port.name, port.port, port.target_port) for port in service.spec.ports] == [("http", 80, 80)]
    spaces = await official.does(official.core.list_namespace)
    assert [space.metadata.name for space in spaces.items] == ["shop"]


async def test_the_official_client_pages_and_an_old_page_is_gone(fake: FakeKubernetes, official: Official) -> None:
    for number in range(5):
        fake.put_slice("shop", "users", f"more-{number}", [ready(f"10.0.1.{number}")], PORTS)
    first = await official.does(official.discovery.list_endpoint_slice_for_all_namespaces, limit=4)
    assert (len(first.items), first.metadata.remaining_item_count) == (4, 2)
    fake.delete("endpointslices", "shop", "users-1")
    rest = await official.does(
        official.discovery.list_endpoint_slice_for_all_namespaces, limit=4, _continue=first.metadata._continue
    )
    assert (len(rest.items), rest.metadata.resource_version) == (2, first.metadata.resource_version)
    fake.expire()
    with pytest.raises(ApiException) as gone:
        await official.does(
            official.discovery.list_endpoint_slice_for_all_namespaces, limit=4, _continue=first.metadata._continue
        )
    assert gone.value.status == 410


async def test_pages_hold_every_object_whatever_the_namespaces_are_called(
    fake: FakeKubernetes, official: Official
) -> None:
    """In etcd `a-b/users` comes before `a/users`."""
    for namespace in ("a", "a-b", "ab"):
        fake.put_service(namespace, "users")
    found, more = [], None
    while more != "":
        page = await official.does(official.core.list_service_for_all_namespaces, limit=1, _continue=more)
        found += [item.metadata.namespace for item in page.items]
        more = page.metadata._continue or ""
    assert found == ["a-b", "a", "ab", "shop"]


async def test_the_official_client_selects_by_label(fake: FakeKubernetes, official: Official) -> None:
    fake.put_slice("shop", "orders", "orders-1", [ready("10.0.0.2")], PORTS)
    selector = "kubernetes.io/service-name in (orders)"
    found = await official.does(official.discovery.list_namespaced_endpoint_slice, "shop", label_selector=selector)
    assert [each.metadata.name for each in found.items] == ["orders-1"]


def _watched(official: Official, since: str, count: int) -> list[tuple[str, str]]:
    watch, seen = kubernetes.watch.Watch(), []
    stream = watch.stream(
        official.discovery.list_endpoint_slice_for_all_namespaces,
        resource_version=since,
        allow_watch_bookmarks=True,
        timeout_seconds=10,
    )
    for event in stream:
        name = event["object"].metadata.name if event["type"] != "BOOKMARK" else ""
        seen.append((event["type"], name))
        if len(seen) == count:
            break
    return seen


async def test_the_official_client_watches_from_a_version_on(fake: FakeKubernetes, official: Official) -> None:
    listed = await official.does(official.discovery.list_endpoint_slice_for_all_namespaces)
    fake.put_slice("shop", "users", "users-2", [ready("10.0.0.2")], PORTS)
    fake.put_slice("shop", "users", "users-1", [], PORTS)
    fake.delete("endpointslices", "shop", "users-2")
    seen = await official.does(_watched, official, listed.metadata.resource_version, 3)
    assert seen == [("ADDED", "users-2"), ("MODIFIED", "users-1"), ("DELETED", "users-2")]


@pytest.mark.parametrize("as_status", [False, True])
async def test_the_official_client_is_told_that_the_past_is_gone(
    fake: FakeKubernetes, official: Official, as_status: bool
) -> None:
    listed = await official.does(official.discovery.list_endpoint_slice_for_all_namespaces)
    fake.gone_as_status = as_status
    fake.expire()
    with pytest.raises(ApiException) as gone:
        await official.does(_watched, official, listed.metadata.resource_version, 1)
    assert gone.value.status == 410


async def test_the_official_client_creates_patches_and_deletes(fake: FakeKubernetes, official: Official) -> None:
    body = {"metadata": {"name": "orders"}, "spec": {"ports": [{"port": 80}]}}
    made = await official.does(official.core.create_namespaced_service, "shop", body)
    assert made.spec.cluster_ip
    with pytest.raises(ApiException) as twice:
        await official.does(official.core.create_namespaced_service, "shop", body)
    assert twice.value.status == 409
    patch = {"metadata": {"labels": {"team": "blue"}}}
    patched = await official.does(official.core.patch_namespaced_service, "orders", "shop", patch)
    assert patched.metadata.labels == {"team": "blue"}
    assert int(patched.metadata.resource_version) > int(made.metadata.resource_version)
    await official.does(official.core.delete_namespaced_service, "orders", "shop")
    with pytest.raises(ApiException) as gone:
        await official.does(official.core.read_namespaced_service, "orders", "shop")
    assert gone.value.status == 404


async def test_the_official_client_is_refused_as_by_a_real_server(fake: FakeKubernetes, official: Official) -> None:
    fake.refuse(403, "Forbidden")
    with pytest.raises(ApiException) as refused:
        await official.does(official.discovery.list_endpoint_slice_for_all_namespaces)
    assert refused.value.status == 403
    assert json.loads(refused.value.body)["kind"] == "Status"


async def test_the_official_client_takes_the_kubeconfig_over_tls(tmp_path: Path) -> None:
    async with fake_kubernetes(tls=True, token="secret") as fake:
        fake.put_service("shop", "users")
        file = kubeconfig(fake, tmp_path)
        api = await asyncio.to_thread(kubernetes.config.new_client_from_config, str(file))
        listed = await asyncio.to_thread(kubernetes.client.CoreV1Api(api).list_service_for_all_namespaces)
        assert [service.metadata.name for service in listed.items] == ["users"]
        api.close()


async def kubectl(fake: FakeKubernetes, folder: Path, *words: str, stdin: str = "") -> str:
    """What it prints. Fails the test when it fails."""
    env = {**os.environ, "KUBECONFIG": str(kubeconfig(fake, folder)), "HOME": str(folder)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(str(KUBECTL), *words, stdin=pipe, stdout=pipe, stderr=pipe, env=env)
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, err.decode()
    return out.decode()


@needs_kubectl
async def test_kubectl_gets_what_was_put(fake: FakeKubernetes, tmp_path: Path) -> None:
    assert "users" in await kubectl(fake, tmp_path, "get", "services", "-n", "shop")
    told = json.loads(await kubectl(fake, tmp_path, "get", "endpointslices", "-A", "-o", "json"))
    assert [item["metadata"]["name"] for item in told["items"]] == ["users-1"]
    one = json.loads(await kubectl(fake, tmp_path, "get", "svc/users", "-n", "shop", "-o", "json"))
    assert one["spec"]["ports"][0]["port"] == 80


@needs_kubectl
async def test_kubectl_creates_labels_and_deletes(fake: FakeKubernetes, tmp_path: Path) -> None:
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders"}, "spec": {"ports": [{"port": 80}]}}
    words = ("create", "-n", "shop", "--validate=false", "-f", "-")
    assert "service/orders created" in await kubectl(fake, tmp_path, *words, stdin=json.dumps(body))
    assert "labeled" in await kubectl(fake, tmp_path, "label", "svc/orders", "team=blue", "-n", "shop")
    selected = await kubectl(fake, tmp_path, "get", "svc", "-n", "shop", "-l", "team=blue", "-o", "name")
    assert selected.split() == ["service/orders"]
    assert "deleted" in await kubectl(fake, tmp_path, "delete", "svc/orders", "-n", "shop", "--wait=false")
    assert "orders" not in await kubectl(fake, tmp_path, "get", "svc", "-n", "shop", "-o", "name")


@needs_kubectl
async def test_kubectl_watches(fake: FakeKubernetes, tmp_path: Path) -> None:
    env = {**os.environ, "KUBECONFIG": str(kubeconfig(fake, tmp_path)), "HOME": str(tmp_path)}
    words = ("get", "endpointslices", "-n", "shop", "-w", "-o", "name")
    process = await asyncio.create_subprocess_exec(str(KUBECTL), *words, stdout=asyncio.subprocess.PIPE, env=env)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert b"users-1" in await process.stdout.readline()
            fake.put_slice("shop", "users", "users-2", [ready("10.0.0.2")], PORTS)
            while b"users-2" not in await process.stdout.readline():
                pass
    finally:
        process.kill()
        await process.communicate()
