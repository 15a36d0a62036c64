"""Options of the sockets that callers connect to; accepted connections inherit them (socket(7), tcp(7))."""

from __future__ import annotations

from envoy.config.core.v3.socket_option_pb2 import SocketOption

# Linux's numbers: the module `socket` is for those who open one.
_SOL_SOCKET, _SO_KEEPALIVE = 1, 9
_IPPROTO_TCP, _TCP_KEEPIDLE, _TCP_KEEPINTVL, _TCP_KEEPCNT = 6, 4, 5, 6
_OPTIONS = (
    ("who has vanished is noticed", _SOL_SOCKET, _SO_KEEPALIVE, 1),
    ("quiet seconds until a probe", _IPPROTO_TCP, _TCP_KEEPIDLE, 30),
    ("seconds between probes", _IPPROTO_TCP, _TCP_KEEPINTVL, 5),
    ("probes without an answer", _IPPROTO_TCP, _TCP_KEEPCNT, 3),
)


def keepalive() -> list[SocketOption]:
    return [
        SocketOption(description=told, level=level, name=name, int_value=value, state=SocketOption.STATE_PREBIND)
        for told, level, name, value in _OPTIONS
    ]
