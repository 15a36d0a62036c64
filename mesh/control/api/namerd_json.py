"""Namerd's JSON: tables, bound trees, addresses, delegations. Pure.

Source: linkerd 1.7.5, io.buoyant.admin.names.DelegateApiHandler and io.buoyant.namerd.iface.Json.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from discovery.address import Bound, Endpoint, Failed, Known, Neg, Pending, State
from discovery.path import Path
from mesh.naming.bind import Broken, Waiting
from mesh.naming.dtab import Dtab, DtabSyntaxError, parse_dtab
from mesh.naming.show import show_prefix, show_tree
from mesh.naming.tree import Alt, BoundName, BoundTree, Empty, Fail, Leaf, Union
from mesh.naming.tree import Neg as NegTree

Json = dict[str, Any]
AskState = Callable[[Path], State]


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def dentries(dtab: Dtab) -> list[Json]:
    return [{"prefix": show_prefix(each.prefix), "dst": show_tree(each.tree)} for each in dtab]


def read_dentries(body: bytes) -> Dtab:
    """Raises DtabSyntaxError, ValueError."""
    read = json.loads(body)
    if not isinstance(read, list):
        raise ValueError('a list of {"prefix": …, "dst": …} expected')  # noqa: TRY004 - what came is no argument
    return Dtab(dentry for each in read for dentry in _dentry(each))


def _dentry(each: object) -> Dtab:
    if not isinstance(each, dict) or each.keys() != {"prefix", "dst"} or not all(map(_is_text, each.values())):
        raise ValueError('a dentry is {"prefix": …, "dst": …}, two texts')
    text = f"{each['prefix']} => {each['dst']}"
    dtab = parse_dtab(text)
    if len(dtab) != 1:
        raise DtabSyntaxError(text, len(text), "one dentry")
    return dtab


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def bound_tree(tree: BoundTree | Waiting | Broken, state: AskState) -> Json:
    match tree:
        case Leaf(name):
            return {"type": "leaf", "bound": bound_name(name, state)}
        case Alt(trees):
            return {"type": "alt", "alt": [bound_tree(each, state) for each in trees]}
        case Union(branches):
            union = [{"weight": each.weight, "tree": bound_tree(each.tree, state)} for each in branches]
            return {"type": "union", "union": union}
        case NegTree():
            return {"type": "neg"}
        case Fail():
            return {"type": "fail"}
        case Empty():
            return {"type": "empty"}
        case Waiting(reason=reason) | Broken(reason=reason):
            return {"type": "exception", "message": reason}


def bound_name(name: BoundName, state: AskState) -> Json:
    return {"addr": addr(state(name.id)), "id": name.id.show(), "path": name.residual.show()}


def addr(state: State) -> Json:
    match state:
        case Known(Bound(endpoints)):
            return {"type": "bound", "addrs": [_address(each) for each in endpoints if each.serves], "meta": {}}
        case Known(Neg()):
            return {"type": "neg"}
        case Failed(reason):
            return {"type": "failed", "cause": reason}
        case Pending():
            return {"type": "pending"}
    raise TypeError(state)


def _address(endpoint: Endpoint) -> Json:
    meta: Json = {} if endpoint.weight == 1.0 else {"endpoint_addr_weight": endpoint.weight}
    if endpoint.host not in ("", endpoint.address):
        meta["nodeName"] = endpoint.host
    return {"ip": endpoint.address, "port": endpoint.port, "meta": meta}


def addr_of(tree: BoundTree | Waiting | Broken, path: Path, state: AskState) -> Json:
    """The addresses of a path that is to be a bound id."""
    match tree:
        case Leaf(name):
            return addr(state(name.id))
        case Empty():
            return {"type": "bound", "addrs": [], "meta": {}}
        case NegTree():
            return {"type": "neg"}
        case Fail():
            return {"type": "failed", "cause": "name tree failed"}
        case Alt() | Union():
            return {"type": "failed", "cause": f"{path.show()} is not a concrete bound id"}
        case Waiting(reason=reason) | Broken(reason=reason):
            return {"type": "failed", "cause": reason}


def drawn(tree: BoundTree | Waiting | Broken, rng: random.Random) -> Path | None:
    """A bound id: of alternatives the first that has one, of a union's branches one by weight."""
    match tree:
        case Leaf(name):
            return name.id
        case Union(branches):
            weights = [branch.weight for branch in branches]
            if not any(weights):
                return None
            return drawn(rng.choices(branches, weights)[0].tree, rng)
        case Alt(trees):
            return next((found for each in trees if (found := drawn(each, rng)) is not None), None)
        case _:
            return None


def with_addresses(node: Json, state: AskState) -> Json:
    """A node of `mesh.naming.explain`, its leaves with their addresses, as Namerd has them."""
    match node:
        case {"bound": {"id": id} as bound}:
            return {**node, "bound": {**bound, "addr": addr(state(Path.parse(id)))}}
        case {"delegate": inner}:
            return {**node, "delegate": with_addresses(inner, state)}
        case {"alt": branches}:
            return {**node, "alt": [with_addresses(each, state) for each in branches]}
        case {"union": branches}:
            union = [{**each, "tree": with_addresses(each["tree"], state)} for each in branches]
            return {**node, "union": union}
        case _:
            return node
