"""What we observe: paths, addresses, and one folder per source.

A source turns what one platform says into an `Addr`. Everything that is not a fact stated by a platform (retrying,
holding the last known good, staleness) is `discovery.observing`, written once for all of them.
Nothing here knows of naming, Envoy or the agent.
"""
