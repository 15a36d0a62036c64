"""The control plane: one table for the fleet, held in a store, sent to agents, previewed, explained."""
