"""Services that Consul knows: `/#/consul/<datacenter>/<service>`, observed by blocking queries on the health endpoint.

`records` is pure (a body becomes an `Addr`), `api` speaks HTTP, `slots` and `pace` bound what is asked, `source` joins
them.
"""
