"""A Traefik that takes its services from a platform."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench.contenders import beside_python
from scripts.ports import free_port
from scripts.running import end


@contextmanager
def traefik(folder: Path, options: Mapping[str, object]) -> Iterator[int]:
    """`options`: of its static configuration, beyond the entry point. Yields the port."""
    port = free_port()
    main = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        **options,
    }
    (folder / "traefik.yaml").write_text(yaml.safe_dump(main))
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [beside_python("traefik"), f"--configFile={folder / 'traefik.yaml'}"], stdout=log, stderr=subprocess.STDOUT
    )
    try:
        yield port
    finally:
        end(process)
        log.close()
