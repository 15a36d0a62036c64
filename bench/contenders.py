"""The proxies compared: each one forwards `Host: users` on one port to one backend, as plainly as it can be told to."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from mesh.envoy.binary import binary
from scripts.ports import free_port
from scripts.running import agent, end

WORKERS = 2
Maker = Callable[[Path, int], AbstractContextManager["Contender"]]
_HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    port: int
    pids: tuple[int, ...]
    """Whose CPU time counts."""


async def until_open(port: int) -> None:
    async with asyncio.timeout(15):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@contextmanager
def _running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        end(process)


@contextmanager
def _envoy(
    folder: Path, name: str, route: dict[str, object], clusters: list[object], workers: int
) -> Iterator[Contender]:
    port = free_port()
    manager = {
        "@type": _HCM,
        "stat_prefix": name,
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}]
        },
    }
    listener = {
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}}))
    options = ["--disable-hot-restart", "--concurrency", str(workers), "--log-level", "error"]
    with _running(str(binary()), "-c", str(file), *options) as process:
        yield Contender(name, port, (process.pid,))


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def backend(folder: Path) -> AbstractContextManager[Contender]:
    """An Envoy that answers at once: the cheapest backend at hand."""
    return _envoy(folder, "backend", {"direct_response": {"status": 200, "body": {"inline_string": "ok"}}}, [], 1)


def bare_envoy(folder: Path, target: int) -> AbstractContextManager[Contender]:
    endpoint = {"endpoint": {"address": _address(target)}}
    assignment = {"cluster_name": "users", "endpoints": [{"lb_endpoints": [endpoint]}]}
    cluster = {"name": "users", "type": "STATIC", "load_assignment": assignment}
    return _envoy(folder, "envoy", {"route": {"cluster": "users"}}, [cluster], WORKERS)


def tieline(folder: Path, target: int) -> AbstractContextManager[Contender]:
    """At its defaults: retries, budget, breakers, ejection, metrics by name and bound name."""
    return _tieline("tieline", folder, target, {})


def tieline_watched(folder: Path, target: int) -> AbstractContextManager[Contender]:
    """With 1 % of the requests traced, and a log of those that failed."""
    # The backend takes the spans as well: what a collector costs is not the proxy's cost.
    watched = {
        "tracing": {"otlp": f"http://127.0.0.1:{target}", "protocol": "http", "sample_percent": 1},
        "access_log": {"path": str(folder / "access.log"), "only": "errors"},
    }
    return _tieline("tieline, watched", folder, target, watched)


@contextmanager
def _tieline(name: str, folder: Path, target: int, more: dict[str, object]) -> Iterator[Contender]:
    place = folder / name.replace(", ", "-")
    (place / "disco").mkdir(parents=True)
    (place / "disco" / "users").write_text(f"127.0.0.1 {target}\n")
    settings: dict[str, object] = {
        "dtab": "/svc => /#/files",
        "sources": [{"kind": "files", "folder": str(place / "disco")}],
        "envoy": {"concurrency": WORKERS, "drain": "1s"},
        **more,
    }
    with agent(place, settings) as running:
        asyncio.run(running.until_ready())
        children = running.children()
        # The brain's time counts too: the mesh is both.
        yield Contender(name, running.port, (children["envoy"], children["brain"], running.process.pid))


@contextmanager
def traefik(folder: Path, target: int) -> Iterator[Contender]:
    port = free_port()
    rules = {
        "http": {
            "routers": {"users": {"rule": "Host(`users`)", "service": "users", "entryPoints": ["web"]}},
            "services": {"users": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{target}"}]}}},
        }
    }
    (folder / "traefik-rules.yaml").write_text(yaml.safe_dump(rules))
    main = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {"file": {"filename": str(folder / "traefik-rules.yaml")}},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
    }
    (folder / "traefik.yaml").write_text(yaml.safe_dump(main))
    with _running(beside_python("traefik"), f"--configFile={folder / 'traefik.yaml'}") as process:
        yield Contender("traefik", port, (process.pid,))


@contextmanager
def haproxy(folder: Path, target: int) -> Iterator[Contender]:
    port = free_port()
    (folder / "haproxy.cfg").write_text(
        f"global\n nbthread {WORKERS}\ndefaults\n mode http\n timeout connect 1s\n"
        f" timeout client 15s\n timeout server 15s\n http-reuse always\n"
        f"frontend f\n bind 127.0.0.1:{port}\n default_backend users\nbackend users\n server s 127.0.0.1:{target}\n"
    )
    with _running("haproxy", "-db", "-f", str(folder / "haproxy.cfg")) as process:
        yield Contender("haproxy", port, (process.pid,))


@contextmanager
def nginx(folder: Path, target: int) -> Iterator[Contender]:
    port = free_port()
    (folder / "nginx.conf").write_text(
        f"daemon off; worker_processes {WORKERS}; pid {folder}/nginx.pid; error_log /dev/null;\n"
        "events { worker_connections 1024; }\nhttp { access_log off; keepalive_requests 1000000;\n"
        f"upstream users {{ server 127.0.0.1:{target}; keepalive 64; keepalive_requests 1000000; }}\n"
        f"server {{ listen 127.0.0.1:{port}; server_name users; location / {{ proxy_pass http://users;\n"
        'proxy_http_version 1.1; proxy_set_header Connection ""; } } }\n'
    )
    with _running("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")) as process:
        asyncio.run(until_open(port))
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Contender("nginx", port, (process.pid, *map(int, workers)))


def beside_python(name: str) -> str:
    """A program that a wheel put beside the interpreter, or one on PATH."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else str(shutil.which(name))


def enter_all(stack: ExitStack, folder: Path) -> tuple[list[Contender], list[str]]:
    """Those that can run here, and a line for each one that can't."""
    target = stack.enter_context(backend(folder)).port
    made: dict[str, Maker] = {
        "envoy": bare_envoy,
        "tieline": tieline,
        "tieline, watched": tieline_watched,
        "traefik": traefik,
        "haproxy": haproxy,
        "nginx": nginx,
    }
    missing = [name for name in ("haproxy", "nginx") if shutil.which(name) is None]
    if not Path(beside_python("traefik")).exists():
        missing.append("traefik")
    running = [stack.enter_context(make(folder, target)) for name, make in made.items() if name not in missing]
    return running, [f"{name}: not installed here, left out" for name in missing]
