import pytest

from discovery.docker.labels import service

LABELS = {"com.docker.compose.project": "shop", "com.docker.compose.service": "users"}


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ({"tieline.service": "users"}, ("-", "users")),
        ({"tieline.service": "shop/users"}, ("shop", "users")),
        ({"tieline.service": "accounts", **LABELS}, ("shop", "accounts")),
        ({"tieline.service": "bank/accounts", **LABELS}, ("bank", "accounts")),
        ({"tieline.service": "a/b/c"}, ("a", "b/c")),
        ({"tieline.service": "bank/"}, None),
        ({"tieline.service": ""}, None),
        ({**LABELS, "com.docker.compose.oneoff": "False"}, ("shop", "users")),
        ({**LABELS, "com.docker.compose.oneoff": "True"}, None),
        ({}, None),
    ],
)
def test_labels_say_which_service_a_container_is_of(labels: dict[str, str], key: object) -> None:
    assert service(labels) == key
