"""Delta xDS: the resources there are, one session per connected proxy, the gRPC service.

`store`, `subscription` and `session` are pure; `server` does the I/O. What a resource means is `mesh.envoy`.
"""
