"""Services of Kubernetes: `/#/kubernetes/<namespace>/<port>/<service>`. A list and a watch tell of all of them.

`records`, `events`, `lines`, `endpoints` and `store` are pure: payload to record, bytes to lines to events, records to
`Addr`, and what is known. `access` says where the API server is and who we are, `api` asks it, `reflector` keeps one
resource true, `source` joins them.
"""
