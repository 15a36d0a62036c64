"""What we do about what is observed: naming, Envoy resources, xDS, the agent, its admin API, the CLI."""
