"""`python -m bench`: every benchmark, one after the other; exit code 1 when a bar was missed."""

import subprocess
import sys

BENCHMARKS = (
    "commit_cost",
    "wal",
    "commits_vs_pgbench",
    "http_vs_pgbench",
    "first_token",
    "readers",
    "panel",
    "takeover",
    "row_security",
    "growth",
)

if __name__ == "__main__":
    codes = []
    for name in BENCHMARKS:
        print(f"\n{name}", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode)
    sys.exit(max(codes))
