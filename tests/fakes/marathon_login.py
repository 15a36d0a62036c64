"""The login of DC/OS: a JWT signed by a service account for a token; and the keys of such accounts."""

from __future__ import annotations

import json
from itertools import count

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

LOGIN = "/acs/api/v1/auth/login"


def key_pair() -> tuple[str, str]:
    """Private and public, in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


class Logins:
    """Whom Marathon answers: whoever has a header that is good. With none registered, everybody."""

    def __init__(self) -> None:
        self.accounts: dict[str, str] = {}
        """The public key of each service account."""
        self.good: set[str] = set()
        """Values of `Authorization`."""
        self.is_asked_for = False
        self.refuses_tokens = False
        """Those that it has given, too."""
        self.answers: tuple[int, bytes] | None = None
        """Instead of what is true."""
        self.count = 0
        self._tokens = count(1)

    def register(self, uid: str, public_key: str) -> None:
        self.accounts[uid] = public_key
        self.is_asked_for = True

    def accept(self, header: str) -> None:
        self.good.add(header)
        self.is_asked_for = True

    def expire(self) -> None:
        self.good.clear()

    def admits(self, header: str) -> bool:
        return not self.is_asked_for or (header in self.good and not self.refuses_tokens)

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """What `POST /acs/api/v1/auth/login` is answered."""
        self.count += 1
        if self.answers is not None:
            return self.answers
        try:
            asked = json.loads(body)
            claims = jwt.decode(asked["token"], self.accounts[asked["uid"]], algorithms=["RS256"], leeway=0)
        except (jwt.PyJWTError, ValueError, KeyError, TypeError) as error:
            return 401, json.dumps({"title": "Unauthorized", "description": type(error).__name__}).encode()
        if claims.get("uid") != asked["uid"] or "exp" not in claims:
            return 401, b'{"title": "Unauthorized", "description": "uid and exp expected"}'
        token = f"token-{next(self._tokens)}"
        self.good.add(f"token={token}")
        return 200, json.dumps({"token": token}).encode()
