"""Copies ledgers into a file of its own, and may be killed at any moment.

    TURNLEDGER_KEY=tl_... python billing_reader.py http://127.0.0.1:8080 billing.sqlite

With a key of an organization (scope `usage:read`) it copies that one's ledger, with a key of the installation
(`tli_...`) those of all organizations. Run it as often as you like: it goes on behind the last rows that it
has. Needs nothing but Python. What makes it safe is that the rows and the place to go on from are written in
one transaction, and that `seq` has no gaps, so that a row which was missed would be seen.
"""

import json
import os
import sqlite3
import sys
import urllib.parse
import urllib.request

PAGE = 1_000


def ask(address, key, path, **query):
    """Call the service and read what it answers."""
    request = urllib.request.Request(
        f"{address}{path}?{urllib.parse.urlencode(query)}", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def open_copy(path):
    """Open the copy, and make its table the first time."""
    copy = sqlite3.connect(path, isolation_level=None)
    copy.execute("PRAGMA journal_mode = WAL")
    copy.execute(
        "CREATE TABLE IF NOT EXISTS entries (organization_id TEXT, seq INTEGER, id TEXT UNIQUE, entry TEXT,"
        " PRIMARY KEY (organization_id, seq))"
    )
    return copy


def heads(address, key):
    """Every ledger that the key may read, and how far it has come.

    Organizations that are made meanwhile come before the first page: the next run finds them.
    """
    page = ask(address, key, "/v1/usage/heads", limit=200)
    yield from page["items"]
    while page["next_page_token"]:
        page = ask(address, key, "/v1/usage/heads", limit=200, page_token=page["next_page_token"])
        yield from page["items"]


def last_copied(copy, organization):
    """The rows themselves say how far we are: there is no cursor that could disagree with them."""
    query = "SELECT coalesce(max(seq), 0) FROM entries WHERE organization_id = ?"
    return copy.execute(query, (organization,)).fetchone()[0]


def catch_up(copy, address, key, organization, head):
    """Copy every row of a ledger that is there; tells how many were new."""
    count, last = 0, last_copied(copy, organization)
    if head < last:
        raise SystemExit(
            f"the ledger of {organization} ends at {head}, and {last} was copied: an older backup?"
        )
    while last < head:
        page = ask(address, key, "/v1/usage/entries", organization=organization, after=last, limit=PAGE)
        for expected, entry in enumerate(page["items"], start=last + 1):
            if entry["seq"] != expected:
                raise SystemExit(
                    f"row {expected} of {organization} is missing: the ledger gave {entry['seq']}"
                )
        copy.execute("BEGIN IMMEDIATE")
        copy.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?)",
            [(organization, entry["seq"], entry["id"], json.dumps(entry)) for entry in page["items"]],
        )
        copy.execute("COMMIT")
        count, last, head = count + len(page["items"]), page["next"], page["head"]
    return count


def main():
    """Copy what is there, and say how much was new."""
    (address, path), key = sys.argv[1:], os.environ["TURNLEDGER_KEY"]
    copy = open_copy(path)
    count = sum(
        catch_up(copy, address, key, ledger["organization_id"], ledger["head"])
        for ledger in heads(address, key)
    )
    print(f"{count} new rows")


if __name__ == "__main__":
    main()
