"""Apps of Marathon (DC/OS): `/#/marathon/<app/id/…>`. One list and one stream of events tell of all of them.

`records`, `sse`, `events` and `fleet` are pure: payload to record to `Addr`, bytes to events, events to what they mean,
and what is known. `api` asks the masters, `credentials` and `login` say who we are, `source` joins them.
"""
