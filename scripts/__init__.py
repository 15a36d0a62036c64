"""Programs that prepare a machine for the tests, the demo and the benchmarks. Nothing here is part of the product."""
