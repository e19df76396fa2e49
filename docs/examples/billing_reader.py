"""Copies an organization's ledger into a file of its own, and may be killed at any moment.

    TURNLEDGER_KEY=tl_... python billing_reader.py http://127.0.0.1:8080 billing.sqlite

Run it as often as you like: it goes on behind the last row that it has. Needs nothing but Python. What makes
it safe is that the rows and the place to go on from are written in one transaction, and that `seq` has no
gaps, so that a row which was missed would be seen.
"""

import json
import os
import sqlite3
import sys
import urllib.request

PAGE = 1_000


def read_page(address, key, after):
    """Ask for the rows behind `after`."""
    request = urllib.request.Request(
        f"{address}/v1/usage/entries?after={after}&limit={PAGE}",
        headers={"Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def open_copy(path):
    """Open the copy, and make its table the first time."""
    copy = sqlite3.connect(path, isolation_level=None)
    copy.execute("PRAGMA journal_mode = WAL")
    copy.execute("CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, entry TEXT)")
    return copy


def catch_up(copy, address, key):
    """Copy every row that is there; tells how many were new."""
    count = 0
    while True:
        # The rows themselves say how far we are: there is no cursor that could disagree with them.
        (last,) = copy.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()
        page = read_page(address, key, last)
        for expected, entry in enumerate(page["items"], start=last + 1):
            if entry["seq"] != expected:
                raise SystemExit(f"row {expected} is missing: the ledger gave {entry['seq']}")
        copy.execute("BEGIN IMMEDIATE")
        copy.executemany(
            "INSERT INTO entries VALUES (?, ?, ?)",
            [(entry["seq"], entry["id"], json.dumps(entry)) for entry in page["items"]],
        )
        copy.execute("COMMIT")
        count += len(page["items"])
        if page["next"] >= page["head"]:
            return count


def main():
    """Copy what is there, and say how much was new."""
    address, path = sys.argv[1:]
    copy = open_copy(path)
    count = catch_up(copy, address, os.environ["TURNLEDGER_KEY"])
    print(f"{count} new rows")


if __name__ == "__main__":
    main()
