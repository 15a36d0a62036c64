"""What the sources that ask AWS share: keys of the configuration, calls in threads, one pace per account and region.

boto3 is imported when the first call is made.
"""
