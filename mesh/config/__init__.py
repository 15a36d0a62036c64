"""The agent's configuration: one YAML file, read into frozen values, every mistake named with file, line and key.

No protobuf, no I/O beyond reading that file and its `dtab_file`.
"""
