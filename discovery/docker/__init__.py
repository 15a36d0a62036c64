"""Containers of Docker or Podman: `/#/docker/<project>/<service>`, one read and one stream of events for all names.

`records`, `labels`, `events`, `endpoints`, `fleet` are pure. `api` asks with Docker's SDK, in the threads of `threads`,
over `connections` that can be cut; `session` keeps the fleet true, `source` says what a name means of it.
"""
