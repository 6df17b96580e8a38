"""Suites of benchmarks: `pytest --pyargs vidcost.bench.suites`."""
