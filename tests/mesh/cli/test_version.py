from __future__ import annotations

import json
import platform


def test_version_tells_tieline_envoy_and_python(tieline) -> None:
    told = json.loads(tieline("version", "-o", "json").stdout)
    assert list(told) == ["tieline", "envoy", "python"]
    assert told["python"] == platform.python_version()
    assert told["envoy"][0].isdigit()
    assert tieline("version").stdout == "".join(f"{name} {number}\n" for name, number in told.items())
