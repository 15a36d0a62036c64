"""What one request costs in instructions of Envoy's own code, counted by valgrind: the same in every run.

CPU time (`bench.proxy`) tells what is paid, this tells differences of a per cent, which time can't on a shared machine.
What the kernel does for a request, some two fifths of the time, is not in it, and is alike for all.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from bench.contenders import Contender, backend, bare_envoy, tieline, tieline_watched
from bench.report import arguments, finish, show
from mesh.envoy.binary import binary
from scripts.ports import free_port
from scripts.running import end, eventually, folder

REQUEST = b"GET / HTTP/1.1\r\nHost: users\r\n\r\n"


async def _dump(contender: Contender, admin: Path) -> dict[str, Any]:
    """The configuration of a real agent's Envoy that has just served the name, by kind."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{contender.port}/", headers={"host": "users"}) as answer,
    ):
        assert answer.status == 200
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(admin))) as session,
        session.get("http://envoy/config_dump") as dump,
    ):
        found = await dump.json(content_type=None)
    return {each["@type"].rpartition(".")[2]: each for each in found["configs"]}


def _static(dump: dict[str, Any], target: int, port: int) -> dict[str, Any]:
    """The same, without a brain: valgrind makes Envoy too slow for xDS's deadlines."""
    bootstrap: dict[str, Any] = dump["BootstrapConfigDump"]["bootstrap"]
    for key in ("node", "dynamic_resources", "admin"):
        bootstrap.pop(key)
    for each in dump["ClustersConfigDump"]["dynamic_active_clusters"]:
        cluster = _untyped(each["cluster"])
        if cluster["type"] == "EDS":
            cluster.pop("eds_cluster_config")
            endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": target}}}
            endpoints = [{"lb_endpoints": [{"endpoint": endpoint}]}]
            cluster |= {"type": "STATIC", "load_assignment": {"cluster_name": cluster["name"], "endpoints": endpoints}}
        bootstrap["static_resources"]["clusters"].append(cluster)
    listener = _untyped(dump["ListenersConfigDump"]["dynamic_listeners"][0]["active_state"]["listener"])
    listener["address"]["socket_address"]["port_value"] = port
    scoped = listener["filter_chains"][0]["filters"][0]["typed_config"]["scoped_routes"]
    for key in ("scoped_rds", "rds_config_source"):
        scoped.pop(key)
    scopes = dump["ScopedRoutesConfigDump"]["dynamic_scoped_route_configs"][0]["scoped_route_configs"]
    scoped["scoped_route_configurations_list"] = {"scoped_route_configurations": [_untyped(each) for each in scopes]}
    bootstrap["static_resources"]["listeners"] = [listener]
    return bootstrap


def _untyped(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "@type"}


def _send(connection: socket.socket, count: int) -> None:
    for _ in range(count):
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            answer += connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200"), answer


def _connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), 1)
    except OSError:
        return None


def count(file: Path, port: int, requests: int) -> float:
    """Instructions for each request, of a connection that is warm."""
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null"]
    log = file.with_suffix(".log")
    with log.open("wb") as out:
        process = subprocess.Popen([*valgrind, str(binary()), "-c", str(file), *options], stdout=out, stderr=out)
    try:
        found: list[socket.socket] = []
        asyncio.run(eventually(lambda: _open(found, port), 60, f"Envoy does not start: {log.read_text()[-2000:]}"))
        with found[0] as connection:
            connection.settimeout(60)
            _send(connection, 200)
            _control(process.pid, "on")
            _send(connection, requests)
            _control(process.pid, "off")
    finally:
        end(process)
    return int(re.findall(r"Collected : (\d+)", log.read_text())[-1]) / requests


def _open(found: list[socket.socket], port: int) -> bool:
    if (connection := _connected(port)) is not None:
        found.append(connection)
    return bool(found)


def _control(pid: int, state: str) -> None:
    subprocess.run(["callgrind_control", "-i", state, str(pid)], check=True, capture_output=True)


def _configurations(place: Path, target: int, port: int) -> dict[str, Path]:
    made: dict[str, Path] = {}
    with bare_envoy(place, target) as bare:
        text = (place / "envoy.json").read_text()
        made["envoy"] = place / "bare.json"
        made["envoy"].write_text(text.replace(f'"port_value": {bare.port}}}', f'"port_value": {port}}}', 1))
    for make in (tieline, tieline_watched):
        with make(place, target) as contender:
            admin = place / contender.name.replace(", ", "-") / "run" / "envoy.sock"
            made[contender.name] = place / f"{contender.name.replace(', ', '-')}.json"
            made[contender.name].write_text(json.dumps(_static(asyncio.run(_dump(contender, admin)), target, port)))
    return made


def main() -> None:
    options = arguments(__doc__ or "")
    if shutil.which("valgrind") is None:
        print("valgrind: not installed here, nothing is counted")
        return
    requests = 500 if options.quick else 3000
    with folder() as place, ExitStack() as stack:
        target, port = stack.enter_context(backend(place)).port, free_port()
        files = _configurations(place, target, port)
        seen = {name: count(file, port, requests) for name, file in files.items()}
    rows: list[list[object]] = [[name, round(each), each / seen["envoy"]] for name, each in seen.items()]
    show(f"{requests} requests on one connection", ["proxy", "instructions/request", "÷ bare Envoy"], rows)
    finish({"benchmark": "instructions", "per_request": seen}, as_json=options.json)


if __name__ == "__main__":
    main()
