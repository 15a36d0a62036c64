"""Names whose endpoints stand in the files of a folder. README.md says how they are written and read."""
