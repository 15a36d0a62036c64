"""One host's mesh: a small supervisor, and its two children, the brain (Python) and Envoy."""
