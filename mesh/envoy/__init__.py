"""Bound names as Envoy resources: pure functions from our values to protobuf messages, and the bootstrap.

What Envoy would refuse is not made here. Who gets which resource, and when, is `mesh.xds`.
"""
