"""Benchmarks, each one command: `python -m bench.commit_cost` and so on; `python -m bench` runs all."""
