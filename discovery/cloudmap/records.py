"""What Cloud Map answers -> endpoints. Pure. Answers are boto3's: dictionaries as the API documents them.

An attribute is what somebody wrote: one that can't be used is `Misconfigured`, not an endpoint less. Addresses may
still be host names. https://docs.aws.amazon.com/cloud-map/latest/api/API_DiscoverInstances.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import NotRequired, TypeVar

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from discovery.address import PROTOCOLS, Bound, Endpoint, Health, bound
from discovery.dns.records import is_literal
from discovery.path import Path
from discovery.source import Misconfigured, Unavailable

T = TypeVar("T")

MOST = 1000
"""Of an answer; and no service may have more instances, a quota that AWS does not raise. So an answer is whole."""


class _Instance(TypedDict):
    InstanceId: str
    HealthStatus: NotRequired[str]
    Attributes: NotRequired[dict[str, str]]


class _Discovered(TypedDict):
    Instances: list[_Instance]
    InstancesRevision: int


class _Revision(TypedDict):
    InstancesRevision: int


class _Http(TypedDict):
    HttpName: str


class _Properties(TypedDict):
    HttpProperties: NotRequired[_Http]


class _Namespace(TypedDict):
    Id: str
    Name: str
    Properties: NotRequired[_Properties]


class _Namespaces(TypedDict):
    Namespaces: list[_Namespace]


class _Service(TypedDict):
    Name: str


class _Services(TypedDict):
    Services: list[_Service]


_DISCOVERED = TypeAdapter(_Discovered)
_REVISION = TypeAdapter(_Revision)
_NAMESPACES = TypeAdapter(_Namespaces)
_SERVICES = TypeAdapter(_Services)

_LABEL = r"(?:\w[\w-]{0,61}\w|[a-zA-Z0-9])"
_SERVICE = re.compile(rf"(?=.{{1,127}}$){_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NAMESPACE = re.compile(r"(?!arn:)[!-~]{1,1024}")

_HEALTH = {"HEALTHY": Health.HEALTHY, "UNHEALTHY": Health.UNHEALTHY}


@dataclass(frozen=True, slots=True)
class Discovered:
    """`revision`: opaque; another one means other instances, or the same in another state of theirs."""

    revision: int
    endpoints: tuple[Endpoint, ...]


def could_exist(name: Path) -> bool:
    """Whether Cloud Map lets anything have such a name: about others it can't be asked."""
    namespace, service = name
    return bool(_NAMESPACE.fullmatch(namespace) and _SERVICE.fullmatch(service))


def discovered(answer: Mapping[str, object], name: Path, port: int | None) -> Discovered:
    """The answer of DiscoverInstances. `port`: of instances that don't say one."""
    read = _parsed(_DISCOVERED, answer, f"DiscoverInstances of {name.show()}")
    # AWS shuffles them with every answer.
    instances = sorted(read["Instances"], key=itemgetter("InstanceId"))
    return Discovered(read["InstancesRevision"], tuple(_endpoint(instance, name, port) for instance in instances))


def revision(answer: Mapping[str, object], name: Path) -> int:
    """The answer of DiscoverInstancesRevision."""
    return _parsed(_REVISION, answer, f"DiscoverInstancesRevision of {name.show()}")["InstancesRevision"]


def namespaces(page: Mapping[str, object]) -> list[tuple[str, str]]:
    """Id, and the name that instances are discovered by, of each on a page of ListNamespaces."""
    listed = _parsed(_NAMESPACES, page, "ListNamespaces")["Namespaces"]
    return [
        (each["Id"], each.get("Properties", {}).get("HttpProperties", {"HttpName": each["Name"]})["HttpName"])
        for each in listed
    ]


def services(page: Mapping[str, object]) -> list[str]:
    """The names on a page of ListServices."""
    return [each["Name"] for each in _parsed(_SERVICES, page, "ListServices")["Services"]]


def unresolved(endpoints: Iterable[Endpoint]) -> set[str]:
    """Their addresses that are host names."""
    return {endpoint.address for endpoint in endpoints if not is_literal(endpoint.address)}


def addr(endpoints: Iterable[Endpoint], addresses: Mapping[str, tuple[str, ...]]) -> Bound:
    """`addresses`: what each host name resolved to; they share its weight."""
    return bound(each for endpoint in endpoints for each in _resolved(endpoint, addresses.get(endpoint.address)))


def _resolved(endpoint: Endpoint, found: tuple[str, ...] | None) -> list[Endpoint]:
    if found is None:
        return [endpoint]
    return [replace(endpoint, address=address, weight=endpoint.weight / len(found)) for address in found]


def _endpoint(instance: _Instance, name: Path, port: int | None) -> Endpoint:
    attributes, where = instance.get("Attributes", {}), f"instance {instance['InstanceId']} of {name.show()}"
    return Endpoint(
        address=_address(attributes, where),
        port=_port(attributes.get("AWS_INSTANCE_PORT"), port, where),
        weight=_weight(attributes.get("weight", "1"), where),
        zone=attributes.get("AVAILABILITY_ZONE", ""),
        health=_HEALTH.get(instance.get("HealthStatus", ""), Health.UNKNOWN),
        host=attributes.get("AWS_EC2_INSTANCE_ID") or attributes.get("EC2_INSTANCE_ID", ""),
        protocol=PROTOCOLS.get(attributes.get("protocol", "").lower()),
        metadata=tuple(sorted(pair for pair in attributes.items() if not pair[0].startswith("AWS_"))),
        origin=instance["InstanceId"],
    )


def _address(attributes: Mapping[str, str], where: str) -> str:
    for key in ("AWS_INSTANCE_IPV4", "AWS_INSTANCE_IPV6"):
        if address := attributes.get(key):
            if not is_literal(address):
                raise Misconfigured(f"{where}: an IP address expected as {key}, not {address!r}; register it again")
            return address
    host = attributes.get("AWS_INSTANCE_CNAME") or attributes.get("AWS_ALIAS_DNS_NAME")
    if not host:
        raise Misconfigured(
            f"{where} has no address: register it with AWS_INSTANCE_IPV4, AWS_INSTANCE_IPV6 or AWS_INSTANCE_CNAME"
        )
    return host


def _port(text: str | None, otherwise: int | None, where: str) -> int:
    if text is None:
        if otherwise is None:
            raise Misconfigured(f"{where} has no port: register it with AWS_INSTANCE_PORT, or set `port`")
        return otherwise
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise Misconfigured(f"{where}: a port expected as AWS_INSTANCE_PORT, not {text!r}; register it again")
    return int(text)


def _weight(text: str, where: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise Misconfigured(f"{where}: a number of 0 or more expected as weight, not {text!r}; register it again")
    return weight


def _parsed(adapter: TypeAdapter[T], answer: Mapping[str, object], what: str) -> T:
    try:
        return adapter.validate_python(answer, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Unavailable(f"Cloud Map's answer to {what} makes no sense: {place}: {first['msg']}") from None
