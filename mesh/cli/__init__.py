"""The command `tieline`: one file per command. What is slow to import is imported where it is needed."""
