"""The story of the README is true."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.manual import ROOT


def test_the_demo_tells_its_story_and_no_request_fails() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "demo"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "ONCE": "1"},
        timeout=120,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "failed requests: 0 of " in told.stdout
    assert "✗" not in told.stdout.replace("✗ /#/", "")
