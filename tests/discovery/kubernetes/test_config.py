from __future__ import annotations

from pathlib import Path as FilePath

import pytest
from pydantic import ValidationError

from discovery.dns.resolver import Family
from discovery.kubernetes.access import HOST
from discovery.kubernetes.config import KubernetesConfig
from discovery.path import Path
from discovery.source import Freshness, Hears, Misconfigured


def test_names_have_a_namespace_a_port_and_a_service() -> None:
    config = KubernetesConfig()
    assert (config.root.show(), config.name_segments, config.fewest_segments) == ("/#/kubernetes", 3, 3)
    assert config.freshness == Freshness(Hears.EVENTS)


def test_clusters_are_told_apart_by_prefix() -> None:
    assert KubernetesConfig(prefix="k8s/eu", context="eu").root.show() == "/#/k8s/eu"


def test_every_key_is_read() -> None:
    config = KubernetesConfig.model_validate(
        {
            "kind": "kubernetes",
            "url": "https://10.0.0.1:6443/",
            "token_file": "/t",
            "ca_file": "/c",
            "namespaces": ["shop", "team-1"],
            "selector": "team=shop",
            "family": "v6_only",
            "timeout": "5s",
            "page_size": 100,
        }
    )
    assert (config.url, config.namespaces, config.timeout) == ("https://10.0.0.1:6443", ("shop", "team-1"), 5.0)
    assert config.family is Family.V6_ONLY


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"url": "10.0.0.1:6443"}, "http://127.0.0.1:8001 or https"),
        ({"url": "https://u:p@10.0.0.1"}, "no credentials in the address"),
        ({"url": "http://a?b=c"}, "expected, not"),
        ({"url": "http://a", "context": "b"}, "three ways to the cluster"),
        ({"in_cluster": True, "kubeconfig": "/k"}, "three ways to the cluster"),
        ({"in_cluster": True, "url": "http://a"}, "three ways to the cluster"),
        ({"token_file": "/t"}, "token_file and ca_file go with url"),
        ({"kubeconfig": "/k", "ca_file": "/c"}, "token_file and ca_file go with url"),
        ({"url": "http://a", "ca_file": "/c"}, "https:// expected"),
        ({"namespaces": ["Shop"]}, "the name of a namespace"),
        ({"namespaces": ["a/../b"]}, "the name of a namespace"),
        ({"namespaces": ["shop", "shop"]}, "names one twice"),
        ({"selector": ""}, "at least 1 character"),
        ({"family": "v4"}, "v4_preferred"),
        ({"timeout": 0}, "greater than 0"),
        ({"page_size": 0}, "greater than or equal to 1"),
        ({"cluster": "eu"}, "Extra inputs"),
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KubernetesConfig.model_validate({"kind": "kubernetes", **wrong})
    assert message in str(caught.value)


async def observed(config: KubernetesConfig) -> None:
    async with config.open() as source:
        await source.observe(Path(("shop", "http", "users")), lambda addr: None)


async def test_files_are_missed_when_they_are_needed_and_not_before(tmp_path: FilePath) -> None:
    config = KubernetesConfig(url="https://127.0.0.1:1", ca_file=tmp_path / "ca.crt")
    with pytest.raises(Misconfigured, match=r"ca\.crt cannot be used"):
        await observed(config)
    with pytest.raises(Misconfigured, match=rf"kubeconfig {tmp_path}/config cannot be used"):
        await observed(KubernetesConfig(kubeconfig=tmp_path / "config"))


async def test_in_a_pod_its_own_cluster_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOST, "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(Misconfigured, match=r"serviceaccount/ca\.crt"):
        await observed(KubernetesConfig())
    with pytest.raises(Misconfigured, match="kubeconfig /nowhere"):
        await observed(KubernetesConfig(kubeconfig=FilePath("/nowhere")))


async def test_a_service_account_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HOST, raising=False)
    with pytest.raises(Misconfigured, match="no pod of Kubernetes"):
        await observed(KubernetesConfig(in_cluster=True))
