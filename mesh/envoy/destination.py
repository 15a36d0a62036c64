"""Answers that tell where the request went, to a caller that asks with `l5d-dst-show`.

A filter that does nothing unless the header is there, on the routers that want it. Of the ways tried this is the
cheapest that needs no further route in each scope: 2 % of a request, where a CEL expression costs 7 %. The names are
those of Linkerd 1, which sets them always.
"""

from __future__ import annotations

from functools import cache

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.common.matching.v3.extension_matcher_pb2 import ExtensionWithMatcher
from envoy.extensions.filters.common.matcher.action.v3.skip_action_pb2 import SkipFilter
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation as MutationFilter
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import Mutations
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.type.matcher.v3.http_inputs_pb2 import HttpRequestHeaderMatchInput
from xds.core.v3.extension_pb2 import TypedExtensionConfig as XdsExtension
from xds.type.matcher.v3.matcher_pb2 import Matcher
from xds.type.matcher.v3.regex_pb2 import RegexMatcher
from xds.type.matcher.v3.string_pb2 import StringMatcher

from mesh.envoy.packing import packed

ASKS = "l5d-dst-show"
TOLD = {"l5d-dst-service": "%ROUTE_NAME%", "l5d-dst-client": "%UPSTREAM_CLUSTER_RAW%"}


@cache
def shown_destination() -> HttpFilter:
    told = [
        HeaderMutation(
            append=HeaderValueOption(
                header=HeaderValue(key=name, value=value), append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
            )
        )
        for name, value in TOLD.items()
    ]
    tells = packed(MutationFilter(mutations=Mutations(response_mutations=told)))
    config = ExtensionWithMatcher(
        extension_config=TypedExtensionConfig(name="envoy.filters.http.header_mutation", typed_config=tells),
        xds_matcher=Matcher(matcher_list=Matcher.MatcherList(matchers=[_unless_asked()])),
    )
    return HttpFilter(name="tieline.destination", typed_config=packed(config))


def _unless_asked() -> Matcher.MatcherList.FieldMatcher:
    predicate = Matcher.MatcherList.Predicate
    anything = RegexMatcher(google_re2=RegexMatcher.GoogleRE2(), regex=".+")
    header = XdsExtension(name="header", typed_config=packed(HttpRequestHeaderMatchInput(header_name=ASKS)))
    asked = predicate(
        single_predicate=predicate.SinglePredicate(input=header, value_match=StringMatcher(safe_regex=anything))
    )
    skip = XdsExtension(name="skip", typed_config=packed(SkipFilter()))
    return Matcher.MatcherList.FieldMatcher(
        predicate=predicate(not_matcher=asked), on_match=Matcher.OnMatch(action=skip)
    )
