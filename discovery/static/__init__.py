"""Names whose endpoints stand in the configuration."""
