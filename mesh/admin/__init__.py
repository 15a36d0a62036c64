"""The agent's HTTP API: health, explain, names, status, metrics. It reads what the brain knows and changes nothing."""
