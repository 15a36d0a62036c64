"""AWS Cloud Map: the instances of a service, asked for when its revision changes.

`records.py` is pure; what is asked, and when, stands in `source.py`; boto3 is in `discovery.aws`.
"""
