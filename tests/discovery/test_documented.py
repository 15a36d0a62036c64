from __future__ import annotations

from pydantic import create_model

from discovery.documented import Documented, texts


class Outer(Documented):
    name: str
    """What it is called.

    And why."""
    bare: int = 0
    size: int = 1
    """How large."""
    "not a key's"


class Inner(Outer):
    size: int = 2
    bare: int = 0
    """Said here."""


class Holder(Documented):
    inner: Inner
    """The one inside."""


def test_the_text_below_a_key_is_its_description() -> None:
    assert texts(Outer) == {"name": "What it is called.\n\nAnd why.", "size": "How large."}


def test_what_is_inherited_keeps_its_text() -> None:
    assert texts(Inner) == {"name": "What it is called.\n\nAnd why.", "size": "How large.", "bare": "Said here."}


def test_schemas_hold_the_texts_of_every_model_in_them() -> None:
    written = Holder.model_json_schema()
    assert written["properties"]["inner"]["description"] == "The one inside."
    described = {key: each.get("description") for key, each in written["$defs"]["Inner"]["properties"].items()}
    assert described == texts(Inner)


def test_a_model_without_a_source_has_no_texts() -> None:
    made = create_model("Made", __base__=Outer, __module__="nowhere", more=(int, 1))
    assert texts(made) == texts(Outer)
    assert "more" in made.model_json_schema()["properties"]
