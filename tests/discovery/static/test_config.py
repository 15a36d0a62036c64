from __future__ import annotations

import pytest
from pydantic import ValidationError

from discovery.path import Path
from discovery.static.config import StaticConfig


def test_a_bad_entry_is_refused_with_its_key() -> None:
    with pytest.raises(ValidationError) as error:
        StaticConfig.model_validate({"kind": "static", "names": {"users": ["10.0.0.1:8080", "10.0.0.2"]}})
    [found] = error.value.errors()
    assert found["loc"] == ("names", "users", 1)
    assert "not '10.0.0.2'" in found["msg"]


def test_a_name_without_letters_is_refused() -> None:
    with pytest.raises(ValidationError):
        StaticConfig.model_validate({"names": {"": ["10.0.0.1:8080"]}})


def test_names_stand_below_the_prefix() -> None:
    assert StaticConfig().root == Path(("#", "static"))
    assert StaticConfig(prefix="lab").root == Path(("#", "lab"))
