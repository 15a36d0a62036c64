"""Any order of changes, acknowledgements, refusals and reconnections: nothing breaks on the way, and it converges."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.config.route.v3.scoped_route_pb2 import ScopedRouteConfiguration
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mesh.xds.events import Nack
from mesh.xds.resource import CLUSTER, ENDPOINTS, LISTENER, SCOPE, Resource, resource
from mesh.xds.session import Session
from mesh.xds.store import Store
from mesh.xds.subscription import named
from tests.fakes.xds_client import Client

CLUSTERS = st.sampled_from(["/#/a", "/#/a-b", "/#/c", "/#/d"])
KEYS = st.sampled_from(["r/x", "r/y", "s/x"])
RARELY = st.integers(0, 7).map(lambda number: number == 7)
VARIANTS = st.sampled_from(["1", "2", "1", "2", "1", "2", "1", "bad"])


def cluster(name: str, variant: str) -> Resource:
    return resource(name, Cluster(name=name, alt_stat_name=variant))


def assignment(name: str, variant: str) -> Resource:
    return resource(name, ClusterLoadAssignment(cluster_name=f"{name}{variant}"))


def scope(key: str, leads_to: str) -> Resource:
    route = Route(match=RouteMatch(prefix="/"), route=RouteAction(cluster=leads_to))
    config = RouteConfiguration(virtual_hosts=[VirtualHost(name="v", domains=["*"], routes=[route])])
    return resource(key, ScopedRouteConfiguration(name=key, route_configuration=config))


class Delivery(RuleBasedStateMachine):
    """The store always holds the clusters its scopes lead to; a `bad` variant is one that the client refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.bound: dict[str, str] = {}
        self.variants: dict[str, str] = {}
        self.bad: set[str] = set()
        self.ever_bad: set[str] = set()
        self.leads_to: dict[str, str] = {}
        self.connect({})
        self.answer_all()

    def connect(self, has: dict[str, dict[str, str]]) -> None:
        self.client = Client(Session(self.store), has)
        self.client.subscribe(CLUSTER)
        if has.get(CLUSTER):
            self.client.subscribe(ENDPOINTS, *has[CLUSTER])
        self.client.read()
        self.client.subscribe(LISTENER)
        self.client.subscribe(SCOPE, "r/*", "s/*")
        self.client.read()

    def apply(self, put: Iterable[tuple[str, Resource]] = (), remove: Iterable[tuple[str, str]] = ()) -> None:
        self.store.apply(put, remove)
        self.client.read()

    @rule(key=KEYS, name=CLUSTERS, sweep=st.booleans())
    def bind(self, key: str, name: str, sweep: bool) -> None:
        self.bound[key] = name
        entry = scope(key, name)
        self.leads_to[entry.version] = name
        put = [(SCOPE, entry)]
        if name not in self.variants:
            self.variants[name] = "1"
            put += [(CLUSTER, cluster(name, "1")), (ENDPOINTS, assignment(name, "1"))]
        self.apply(put, self._unused() if sweep else [])

    @rule(name=CLUSTERS, variant=VARIANTS)
    def change(self, name: str, variant: str) -> None:
        if name in self.variants:
            entry = cluster(name, variant)
            if variant == "bad":
                self.bad.add(entry.version)
                self.ever_bad.add(name)
            self.variants[name] = variant
            self.apply([(CLUSTER, entry)])

    @rule(name=CLUSTERS, variant=VARIANTS)
    def move(self, name: str, variant: str) -> None:
        if name in self.variants:
            entry = assignment(name, variant)
            if variant == "bad":
                self.bad.add(entry.version)
            self.apply([(ENDPOINTS, entry)])

    @rule(key=KEYS, sweep=st.booleans())
    def unbind(self, key: str, sweep: bool) -> None:
        if self.bound.pop(key, None):
            self.apply(remove=[(SCOPE, key), *(self._unused() if sweep else [])])

    @rule()
    def sweep(self) -> None:
        self.apply(remove=self._unused())

    def _unused(self) -> list[tuple[str, str]]:
        unused = self.variants.keys() - set(self.bound.values())
        for name in unused:
            del self.variants[name]
        return [(type_url, name) for name in sorted(unused) for type_url in (CLUSTER, ENDPOINTS)]

    @rule(variant=VARIANTS)
    def change_listener(self, variant: str) -> None:
        self.apply([(LISTENER, resource("l", Cluster(name=variant)))])

    @rule()
    def settle(self) -> None:
        self.store.settle()
        self.client.read()

    @precondition(lambda self: self.client.unanswered)
    @rule(which=st.integers(0, 3), names_culprits=st.booleans())
    def answer(self, which: int, names_culprits: bool) -> None:
        self._answer(sorted(self.client.unanswered)[which % len(self.client.unanswered)], names_culprits)

    @precondition(lambda self: self.client.unanswered)
    @rule(which=st.integers(0, 3))
    def answer_one(self, which: int) -> None:
        self.answer(which, True)

    @rule()
    def answer_all(self) -> None:
        while self.client.unanswered:
            self.answer(0, True)

    def _answer(self, type_url: str, names_culprits: bool) -> None:
        response = self.client.unanswered[type_url]
        refused = [each.name for each in response.resources if each.version in self.bad]
        if not refused:
            self.client.ack(type_url)
        else:
            took = [each.name for each in response.resources if each.name not in refused]
            if type_url == ENDPOINTS:
                took = took[: len(took) // 2]
            message = f"Error: {', '.join(refused)}: refused" if names_culprits else "refused"
            self.client.nack(type_url, message, took)
        self.client.read()

    @rule(really=RARELY)
    def reconnect(self, really: bool) -> None:
        if not really:
            return
        self.store.assume(SCOPE, self.client.session.subscriptions[SCOPE].may_have())
        self.connect(self.client.has)

    @rule(really=RARELY)
    def restart_brain(self, really: bool) -> None:
        """The new store learns the same names, and settles afterwards."""
        if not really:
            return
        old, self.store = self.store, Store()
        self.store.assume(SCOPE, self.client.has.get(SCOPE, ()))
        self.connect(self.client.has)
        self.client.read()
        for type_url in (CLUSTER, ENDPOINTS, SCOPE, LISTENER):
            self.apply([(type_url, entry) for entry in old.resources(type_url).values()])

    @invariant()
    def every_scope_leads_to_a_cluster_the_client_has(self) -> None:
        for version in self.client.has.get(SCOPE, {}).values():
            assert self.leads_to[version] in self.client.has[CLUSTER].keys() | self.ever_bad

    def teardown(self) -> None:
        self.store.settle()
        self.client.read()
        self.answer_all()
        for type_url in (CLUSTER, SCOPE, LISTENER):
            good = {
                name: entry.version
                for name, entry in self.store.resources(type_url).items()
                if entry.version not in self.bad
            }
            held = self.client.has.get(type_url, {})
            assert good.items() <= held.items()
            assert held.keys() <= self.store.resources(type_url).keys()
        for name, entry in self.store.resources(ENDPOINTS).items():
            if name in self.client.has[CLUSTER] and entry.version not in self.bad:
                assert self.client.has[ENDPOINTS][name] == entry.version
        refused = [event for event in self.client.events if isinstance(event, Nack)]
        assert all(set(nack.culprits) <= set(nack.names) for nack in refused)


Delivery.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
TestDelivery = Delivery.TestCase


def test_only_whole_names_are_found_in_a_message() -> None:
    message = "Error adding/updating cluster(s) /#/a-b: bad, r: worse"
    assert named(["/#/a", "/#/a-b", "r", "e", "b"], message) == ("/#/a-b", "r")


def test_the_ack_of_another_version_leaves_a_refusal_as_it_is() -> None:
    """Else a scope waits for ever for what is neither sent nor refused."""
    state = Delivery()
    state.bind("r/x", "/#/a", False)
    state.change("/#/a", "1")
    state.change("/#/a", "bad")
    state.bind("r/x", "/#/a", False)
    state.answer_one(0)
    state.answer_one(1)
    state.change("/#/a", "1")
    state.bind("r/x", "/#/a", False)
    state.bind("r/x", "/#/a", False)
    state.answer_one(0)
    state.change("/#/a", "1")
    state.bind("r/x", "/#/a", False)
    state.change("/#/a", "2")
    state.bind("r/x", "/#/a", False)
    state.change("/#/a", "bad")
    state.bind("r/x", "/#/a-b", False)
    state.teardown()
