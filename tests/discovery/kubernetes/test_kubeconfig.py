from __future__ import annotations

import base64
import json
import ssl
import stat
from pathlib import Path as FilePath
from typing import Any

import pytest
import yaml

from discovery.kubernetes.kubeconfig import Kubeconfig
from discovery.source import Misconfigured

CLUSTERS = [
    {"name": "eu", "cluster": {"server": "https://10.0.0.1:6443/", "tls-server-name": "kubernetes"}},
    {"name": "us", "cluster": {"server": "https://10.0.0.2:6443", "insecure-skip-tls-verify": True}},
    {"name": "proxy", "cluster": {"server": "http://127.0.0.1:8001", "proxy-url": "http://10.0.0.9:3128"}},
]


def written(folder: FilePath, user: dict[str, Any]) -> FilePath:
    contexts = [{"name": each["name"], "context": {"cluster": each["name"], "user": "me"}} for each in CLUSTERS]
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "eu", "clusters": CLUSTERS}
    file = folder / "config"
    file.write_text(json.dumps({**config, "contexts": contexts, "users": [{"name": "me", "user": user}]}))
    return file


async def test_the_current_context_is_used_unless_another_is_said(tmp_path: FilePath) -> None:
    file = written(tmp_path, {"token": "t0ken"})
    access = await Kubeconfig(file, None)()
    assert (access.url, access.server_name, access.proxy) == ("https://10.0.0.1:6443", "kubernetes", None)
    assert await access.credential.header() == "Bearer t0ken"
    assert "t0ken" not in repr(access)
    assert isinstance(access.ssl, ssl.SSLContext)
    assert access.ssl.verify_mode is ssl.CERT_REQUIRED

    other = await Kubeconfig(file, "us")()
    assert other.url == "https://10.0.0.2:6443"
    assert isinstance(other.ssl, ssl.SSLContext)
    assert other.ssl.verify_mode is ssl.CERT_NONE

    proxied = await Kubeconfig(file, "proxy")()
    assert (proxied.url, proxied.ssl, proxied.proxy) == ("http://127.0.0.1:8001", True, "http://10.0.0.9:3128")


async def test_a_password_is_said_too(tmp_path: FilePath) -> None:
    access = await Kubeconfig(written(tmp_path, {"username": "me", "password": "pw"}), None)()
    assert await access.credential.header() == "Basic " + base64.b64encode(b"me:pw").decode()


async def test_a_plugin_is_asked_again_when_what_it_said_is_refused(tmp_path: FilePath) -> None:
    said, plugin = tmp_path / "said", tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\ncat {said}\n")
    plugin.chmod(stat.S_IRWXU)

    def says(token: str) -> None:
        head = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
        said.write_text(json.dumps({**head, "status": {"token": token}}))

    says("one")
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    access = await Kubeconfig(written(tmp_path, {"exec": command}), None)()
    header = await access.credential.header()
    assert header == "Bearer one"
    assert not await access.credential.renew(header)
    says("two")
    assert await access.credential.renew(header)
    assert await access.credential.header() == "Bearer two"


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("", None),
        ("[1, 2", None),
        ("just words", None),
        ("contexts: null", None),
        ("current-context: a", None),
        (None, "nowhere"),
    ],
)
async def test_a_file_that_is_no_kubeconfig_is_named(text: str | None, context: str | None, tmp_path: FilePath) -> None:
    file = written(tmp_path, {"token": "t0ken"})
    if text is not None:
        file.write_text(text)
    with pytest.raises(Misconfigured) as caught:
        await Kubeconfig(file, context)()
    assert str(file) in str(caught.value)
    assert "t0ken" not in str(caught.value)


async def test_certificates_that_are_missing_are_named(tmp_path: FilePath) -> None:
    user = {"client-certificate": "missing.pem", "client-key": "missing.key"}
    with pytest.raises(Misconfigured, match=r"missing\.pem"):
        await Kubeconfig(written(tmp_path, user), None)()


@pytest.mark.parametrize(
    "entry", [{"token": "S3CRET"}, {"auth-provider": {"name": "oidc", "config": {"client-secret": "S3CRET"}}}]
)
async def test_what_is_wrong_with_an_entry_is_said_without_what_is_secret_in_it(
    entry: dict[str, object], tmp_path: FilePath
) -> None:
    file = written(tmp_path, {"token": "t0ken"})
    config = yaml.safe_load(file.read_text())
    config["users"] = [{"name": config["users"][0]["name"], **entry}]
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(Misconfigured) as caught:
        await Kubeconfig(file, None)()
    assert "S3CRET" not in str(caught.value)
