from __future__ import annotations

from pathlib import Path

import pytest

from platforms.host import facts


def test_a_node_is_named_after_its_host_and_its_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = tmp_path / "boot_id"
    monkeypatch.setattr(facts, "BOOT_ID", kernel)
    kernel.write_text("5f0cba12-0000-4000-8000-000000000001\n")
    first = facts.node_id("web-1")
    assert first == facts.node_id("web-1") == "web-1/5f0cba12"
    kernel.write_text("aa11bb22-0000-4000-8000-000000000002\n")
    assert facts.node_id("web-1") == "web-1/aa11bb22"


def test_a_kernel_that_does_not_tell_its_boot_leaves_the_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "BOOT_ID", tmp_path / "absent")
    assert facts.boot_id() == ""
    assert facts.node_id("web-1") == "web-1"


@pytest.mark.skipif(not facts.BOOT_ID.exists(), reason="this kernel has no boot id")
def test_this_kernel_tells_its_boot() -> None:
    assert len(facts.boot_id()) == 36
