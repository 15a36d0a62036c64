"""A deadline that travels with a request: `l5d-ctx-deadline`, in seconds since 1970, passed on from hop to hop.

Envoy has timeouts, which begin anew at each hop, and no deadlines. A script makes one of the other, for names whose
policy asks for it: the request may take until its deadline, but not longer than the route's timeout, and carries the
earlier of the two on. gRPC says its own as `grpc-timeout`, which counts, and goes on as what is left. The filter is off
for all others. Its scripts stand in the listener: one in a route would be compiled for each route and worker.
"""

from __future__ import annotations

from functools import cache, lru_cache

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua, LuaPerRoute
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.wrappers_pb2 import BoolValue

from mesh.envoy.packing import packed
from mesh.policy.resilience import Timeout

FILTER = "deadline"
HEADER = "l5d-ctx-deadline"
PASSED = "the deadline of the request has passed"
UNREADABLE = f"{HEADER} is no number of seconds since 1970"
DETAILS = "lua_response"
"""What Envoy's response code details say of an answer that a script gave."""
_MOST_MILLISECONDS = 2**31
_GRPC_DIGITS = 8
"""Of a `grpc-timeout`, at most: gRPC over HTTP2, "Requests"."""
_SCRIPT = "deadline"
# `%.3f`: Lua would write a large number as 1.76e9.
_SOURCE = f"""
local seconds = {{H = 3600, M = 60, S = 1, m = 1e-3, u = 1e-6, n = 1e-9}}
function envoy_on_request(handle)
  local headers, now = handle:headers(), handle:timestamp() / 1000
  local grpc = string.sub(headers:get("content-type") or "", 1, 16) == "application/grpc"
  local most = handle:filterContext():get(grpc and "grpc" or "request")
  local count, unit = string.match(grpc and headers:get("grpc-timeout") or "", "^(%d+)([HMSmun])$")
  local own = count and #count <= {_GRPC_DIGITS} and tonumber(count) * seconds[unit]
  if own and (not most or own < most) then most = own end
  local said = headers:get("{HEADER}")
  local deadline = said and string.match(said, "^%d+%.?%d*$") and tonumber(said)
  if said and not deadline then
    handle:respond({{[":status"] = "400"}}, "tieline: {UNREADABLE}\\n")
    return
  end
  if most and (not deadline or now + most < deadline) then deadline = now + most end
  if not deadline then return end
  if deadline <= now then
    handle:respond({{[":status"] = "504"}}, "tieline: {PASSED}\\n")
    return
  end
  headers:replace("{HEADER}", string.format("%.3f", deadline))
  local left = math.max(1, math.min({_MOST_MILLISECONDS}, (deadline - now) * 1000))
  headers:replace("x-envoy-upstream-rq-timeout-ms", string.format("%d", left))
  if grpc then headers:replace("grpc-timeout", string.format("%dm", math.min({10**_GRPC_DIGITS - 1}, left))) end
end
"""


@cache
def deadline_filter() -> HttpFilter:
    config = Lua(
        source_codes={_SCRIPT: DataSource(inline_string=_SOURCE)},
        # What identified the request may be gone by now (mesh.envoy.keys), and no route would be found again.
        clear_route_cache=BoolValue(value=False),
    )
    return HttpFilter(name=FILTER, typed_config=packed(config))


@lru_cache(maxsize=256)
def on(timeout: Timeout) -> PackedAny:
    """`timeout`: of the routes; no request lasts longer, whatever it says."""
    config = LuaPerRoute(name=_SCRIPT)
    # Also while there is nothing in it: the script asks for it.
    config.filter_context.SetInParent()
    for name, seconds in (("request", timeout.request), ("grpc", timeout.grpc)):
        if seconds is not None:
            config.filter_context[name] = seconds
    return packed(config)
