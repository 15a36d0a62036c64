"""A plain host: a VM or a machine, known by its name."""
