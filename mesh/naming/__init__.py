"""Names: the delegation table, what a name leads to under it, and why. Finagle's language and rules.

Pure: what is known of the platforms is passed in, and nothing here observes, logs or waits.
"""
