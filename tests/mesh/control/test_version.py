"""What a version says of itself."""

from __future__ import annotations

import base64

from mesh.control.version import Content, Version


def test_the_etag_is_namerd_s_base64_of_the_number_and_no_other_version_s() -> None:
    versions = [Version("default", number, 0.0, "alice", "", Content("/svc => /#/files")) for number in (1, 2, 11)]
    assert [base64.b64decode(each.etag) for each in versions] == [b"1", b"2", b"11"]
