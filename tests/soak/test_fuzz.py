"""Whatever the agent and the control plane read, from each other, from callers and from disk, for long."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.discovery.remote.test_fuzz import fuzz_frames
from tests.fuzzing import Rounds
from tests.mesh.agent.test_fuzz import fuzz_agent, fuzz_snapshot
from tests.mesh.control.api.test_fuzz import fuzz_api
from tests.mesh.control.test_fuzz import bugs, fuzz_stream
from tests.soak.pace import SECONDS

pytestmark = pytest.mark.soak
REFUSED = "a table can't be used, the last good one stays in force"


@pytest.mark.parametrize(
    "fuzz", [fuzz_frames, fuzz_stream, fuzz_agent, fuzz_snapshot, fuzz_api], ids=lambda fuzz: fuzz.__name__
)
def test_whatever_is_read_does_no_harm(fuzz: Callable[[Rounds], int], caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    tried = fuzz(Rounds(seconds=SECONDS))
    print(f"{fuzz.__name__}: {tried} inputs in {time.monotonic() - began:.0f} s")
    assert tried
    assert [bug for bug in bugs(caplog) if bug != REFUSED] == []
