"""Policies: what holds for the requests of a name, as data beside the table. Pure.

An entry has a pattern and settings; all entries that match are merged, later ones win.
"""
