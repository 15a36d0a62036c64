from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.address import Endpoint, Failed, Health, Known, Neg, Pending, Protocol, State, bound
from discovery.path import Path
from discovery.remote import frames
from discovery.remote.frames import (
    FromAgent,
    FromControl,
    Hello,
    Observation,
    Refused,
    Release,
    RemoteSource,
    Same,
    Sources,
    Status,
    Table,
    Want,
    Welcome,
    encode,
    from_agent,
    from_control,
)
from discovery.remote.reading import BadFrame
from discovery.source import Freshness, Hears

_texts = st.text(max_size=8)
_seconds = st.floats(0, 2e9, allow_nan=False)
_endpoints = st.builds(
    Endpoint,
    address=st.ip_addresses().map(str),
    port=st.integers(1, 65_535),
    weight=st.floats(0, 1000),
    zone=_texts,
    health=st.sampled_from(Health),
    host=_texts,
    protocol=st.none() | st.sampled_from(Protocol),
    identity=_texts,
    metadata=st.lists(st.tuples(_texts, _texts), max_size=2).map(tuple),
    origin=_texts,
)
_addrs = st.just(Neg()) | st.lists(_endpoints, max_size=4).map(bound)
_states = (
    st.builds(Known, _addrs, _seconds, _seconds, st.none() | _texts, st.none() | _addrs)
    | st.builds(Pending, st.none() | _texts)
    | st.builds(Failed, _texts)
)
_paths = st.lists(st.text(min_size=1, max_size=4), max_size=3).map(Path)
_fresh = st.none() | st.builds(Freshness, st.sampled_from(Hears), _seconds)
_sources = st.builds(
    RemoteSource, _paths, _texts, st.integers(1, 9), st.none() | st.integers(1, 9), st.booleans(), _fresh
)
_whole = st.integers(0, 2**53)
_from_agent = (
    st.builds(Hello, st.from_regex(r"\A[a-z0-9._:/-]{1,9}\Z"), _texts, _texts, st.none() | _whole, st.none() | _texts)
    | st.builds(Want, st.dictionaries(_texts, st.none() | _texts))
    | st.builds(Release, st.lists(_texts).map(tuple))
    | st.builds(Status, st.dictionaries(_texts.filter(lambda key: key != "type"), st.none() | st.booleans() | _texts))
)
_from_control = (
    st.builds(Welcome, _texts, _texts)
    | st.builds(Refused, _texts)
    | st.builds(Table, _texts, _whole, st.none() | _texts, st.none() | _texts, _seconds, _texts, _texts)
    | st.builds(Sources, st.lists(_sources, max_size=3, unique_by=lambda source: source.prefix).map(tuple))
    | st.builds(Observation, _paths, st.just("91be"), _states)
    | st.builds(Same, st.lists(_texts).map(tuple))
)


@given(_from_agent)
def test_what_an_agent_says_is_read_as_it_was_said(frame: FromAgent) -> None:
    assert from_agent(encode(frame)) == frame


@given(_from_control)
def test_what_a_control_plane_says_is_read_as_it_was_said(frame: FromControl) -> None:
    assert from_control(encode(frame)) == frame


@given(_paths, _states)
def test_an_observation_made_from_its_state_is_one(name: Path, state: State) -> None:
    version, text = frames.observation(name.show(), state)
    assert from_control(text) == Observation(name, version, state)


@given(_from_agent | _from_control, st.sampled_from(["extra", "Type", "x"]))
def test_a_frame_is_ascii_without_spaces_around_and_bears_a_key_more(frame: FromAgent | FromControl, key: str) -> None:
    text = encode(frame)
    assert text.isascii()
    more = json.dumps({**json.loads(text), key: {"of": ["a", "newer", "version"]}})
    read = from_agent(more) or from_control(more)
    assert type(read) is type(frame)
    assert isinstance(frame, Status) or read == frame


def test_a_type_that_is_not_known_is_none() -> None:
    assert from_agent('{"type":"sing","song":1}') is None
    assert from_control('{"type":"hello"}') is None


def test_what_an_older_peer_leaves_away_has_a_default() -> None:
    assert from_agent('{"type":"hello","protocol":1,"agent":"a"}') == Hello("a")
    assert from_control('{"type":"welcome","protocol":1}') == Welcome()
    table = from_control('{"type":"table","namespace":"default","version":0}')
    assert table == Table("default", 0, None, None)
    bare = '{"type":"sources","hash":"h","sources":[{"prefix":"/#/consul","kind":"consul","segments":2}]}'
    assert from_control(bare) == Sources((RemoteSource(Path.parse("/#/consul"), "consul", 2),), "h")


def test_of_a_hello_in_another_protocol_only_that_is_read() -> None:
    assert from_agent('{"type":"hello","protocol":2,"agent":{"name":"a"}}') == Hello("", protocol=2)


def test_what_a_newer_version_calls_a_health_a_protocol_or_a_way_to_hear_is_not_known_here() -> None:
    row = '{"address":"10.0.0.1","port":80,"health":"sleepy","protocol":"quic","colour":"red"}'
    state = f'{{"known":[{row}],"since":1,"confirmed_at":2}}'
    read = from_control(f'{{"type":"observation","name":"/a","version":"v","state":{state}}}')
    assert read == Observation(Path(("a",)), "v", Known(bound([Endpoint("10.0.0.1", 80)]), 1, 2))
    source = '{"prefix":"/#/a","kind":"a","segments":1,"freshness":{"hears":"telepathy"}}'
    offer = from_control(f'{{"type":"sources","hash":"h","sources":[{source}]}}')
    assert isinstance(offer, Sources)
    assert offer.sources[0].freshness is None


def test_a_state_of_a_kind_that_a_newer_version_knows_is_one_name_of_which_nothing_is_known() -> None:
    read = from_control('{"type":"observation","name":"/a","version":"v","state":{"moved":"/b","since":1}}')
    assert isinstance(read, Observation)
    assert isinstance(read.state, Failed)
    assert "what a later version says is not understood here ('moved', 'since')" in read.state.reason


_ROW = '{"type":"observation","name":"/a","version":"v","state":{"since":1,"confirmed_at":1,"known":[%s]}}'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", r"an object expected, not \[\]"),
        ("{}", "type: a text expected, not null"),
        ('{"type":"hello","protocol":true,"agent":"a"}', "protocol: a whole number expected, not true"),
        ('{"type":"hello","protocol":1,"agent":""}', "agent: a name of at most 255"),
        ('{"type":"hello","protocol":1,"agent":"a","table":"17"}', r'table: a whole number expected, not "17" \(in a'),
        ('{"type":"want","names":["/a"]}', "names: an object expected"),
        ('{"type":"want","names":{"/a":1}}', "names./a: a text expected, not 1"),
        ('{"type":"release","names":{}}', "names: a list expected"),
        ('{"type":"release","names":["/a",2]}', r"names\[1\]: a text expected, not 2"),
        ('{"type":"same","names":[null]}', r"names\[0\]: a text expected"),
        ('{"type":"table","namespace":"a","version":1.5}', "version: a whole number expected, not 1.5"),
        ('{"type":"table","namespace":"a","version":1,"at":NaN}', "no JSON: NaN is no number"),
        ('{"type":"status","ready":-Infinity}', "no JSON: -Infinity is no number"),
        ('{"type":"status","ready":1e999}', "no JSON: 1e999 is no number"),
        ('{"type":"sources","hash":"h","sources":[{"prefix":"a"}]}', r"sources\[0\].prefix: '/' expected"),
        (
            '{"type":"sources","hash":"h","sources":[%s,%s]}' % (('{"prefix":"/#/a","kind":"a","segments":1}',) * 2),
            r"sources\[1\].prefix: /#/a is another source's already",
        ),
        ('{"type":"observation","name":"/a","version":"v","state":{}}', "state: known, pending or failed expected"),
        (_ROW % "7", r"state.known\[0\]: an object expected, not 7"),
        (_ROW % '{"address":"users","port":80}', r'state.known\[0\].address: an IP address expected, not "users"'),
        (_ROW % '{"address":"::1","port":0}', r"state.known\[0\].port: a port expected, not 0"),
        (_ROW % '{"address":"::1","port":1,"weight":"1"}', r"state.known\[0\].weight: a number expected"),
        (
            _ROW % '{"address":"::1","port":1,"metadata":[["a"]]}',
            r"state.known\[0\].metadata: a pair of texts expected",
        ),
        (_ROW % '{"address":"::1","port":1,"metadata":{}}', r"state.known\[0\].metadata: a list of pairs expected"),
        ('{"type":"status"', "no JSON"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(text: str, error: str) -> None:
    with pytest.raises(BadFrame, match=error):
        assert (from_agent(text), from_control(text)) == (None, None)


def test_a_wrong_value_is_shown_in_short() -> None:
    with pytest.raises(BadFrame) as raised:
        from_agent(json.dumps({"type": ["x" * 10_000]}))
    assert len(str(raised.value)) < 120
