from __future__ import annotations

from pathlib import Path

import pytest

from mesh.config import places


def test_the_system_s_folders_are_used_where_nothing_is_said() -> None:
    assert places.run_dir({}) == Path("/run/tieline")
    assert places.state_dir({}) == Path("/var/lib/tieline")
    assert places.config_file({}) == Path("/etc/tieline/tieline.yaml")


def test_the_environment_is_heard() -> None:
    assert places.run_dir({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/tieline")
    assert places.state_dir({"XDG_STATE_HOME": "/home/me/state"}) == Path("/home/me/state/tieline")
    assert places.config_file({"TIELINE_CONFIG": "here.yaml"}) == Path("here.yaml")


@pytest.mark.parametrize("value", ["", "relative"])
def test_a_relative_folder_in_the_environment_is_ignored(value: str) -> None:
    assert places.run_dir({"XDG_RUNTIME_DIR": value}) == Path("/run/tieline")
