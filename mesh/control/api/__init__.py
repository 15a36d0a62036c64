"""The control plane's HTTP API: ours under /v1, Namerd's under /api/1. One file per group of routes.

A route is declared once; serving, validation and the OpenAPI document are made of that.
"""
