"""The story of the README, live: `make demo`."""
