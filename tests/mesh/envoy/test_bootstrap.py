from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from mesh.envoy.binary import binary, version
from mesh.envoy.bootstrap import bootstrap
from tests.envoy_process import eventually, running


@pytest.mark.parametrize("max_heap_bytes", [None, 2**28])
def test_envoy_takes_the_bootstrap(tmp_path: Path, max_heap_bytes: int | None) -> None:
    config = bootstrap(
        node_id="host",
        node_cluster="site",
        ads_socket=tmp_path / "ads.sock",
        admin_socket=tmp_path / "admin.sock",
        max_heap_bytes=max_heap_bytes,
    )
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config))
    checked = subprocess.run(
        [binary(), "--mode", "validate", "-c", file, "-l", "warning"], check=False, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stderr) == (0, "")


async def test_envoy_starts_and_waits_when_there_is_no_brain(tmp_path: Path) -> None:
    admin_socket = tmp_path / "admin.sock"
    config = bootstrap(node_id="host", node_cluster="site", ads_socket=tmp_path / "ads.sock", admin_socket=admin_socket)
    async with running(config, tmp_path, level="error") as envoy:
        await eventually(admin_socket.exists)
        # Envoy binds it and then restricts it; the agent's folder is its owner's alone.
        await eventually(lambda: stat.S_IMODE(admin_socket.stat().st_mode) == 0o600)
        assert (await envoy.admin("/ready")).strip() == "PRE_INITIALIZING"
        info = json.loads(await envoy.admin("/server_info"))
        assert (info["node"]["id"], info["node"]["cluster"]) == ("host", "site")
        assert f"/{version()}/" in info["version"]
