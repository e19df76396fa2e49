"""Copies ledgers into a file of its own, and may be killed at any moment.

    TURNLEDGER_KEY=tl_... python billing_reader.py http://127.0.0.1:8080 billing.sqlite [ARCHIVE ...]

With a key of an organization (scope `usage:read`) it copies that one's ledger, with a key of the installation
(`tli_...`) those of all organizations. Run it as often as you like: it goes on behind the last rows that it
has. Needs nothing but Python. What makes it safe is that the rows and the place to go on from are written in
one transaction, and that `seq` has no gaps, so that a row which was missed would be seen. A copy begun
after old years have left for archives needs their files, once.
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


def add(copy, rows):
    """Write rows, each an organization and an entry; those that are there already stay as they are."""
    copy.execute("BEGIN IMMEDIATE")
    copy.executemany(
        "INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?)",
        ((organization, entry["seq"], entry["id"], json.dumps(entry)) for organization, entry in rows),
    )
    copy.execute("COMMIT")


def load(copy, archive):
    """Copy the rows of an archive."""
    with open(archive, encoding="utf-8") as lines:
        entries = (json.loads(line) for line in lines)
        add(copy, ((entry.pop("organization_id"), entry) for entry in entries))


def last_copied(copy, organization):
    """Up to where no row is missing: the rows say that themselves, there is no cursor that could disagree."""
    query = """SELECT coalesce(max(seq), 0)
                 FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS number
                         FROM entries WHERE organization_id = ?)
                WHERE seq = number"""
    return copy.execute(query, (organization,)).fetchone()[0]


def require(copy, page, organization, last):
    """Stop unless a page goes on behind row `last`, but for rows that were copied from an archive."""
    expected = last + 1
    there = {entry["seq"] for entry in page["items"]}
    query = "SELECT seq FROM entries WHERE organization_id = ? AND seq BETWEEN ? AND ?"
    there |= {row[0] for row in copy.execute(query, (organization, expected, page["next"]))}
    while expected in there:
        expected += 1
    if expected <= page["archived_through"]:
        raise SystemExit(f"row {expected} of {organization} has left for an archive: name the files of all")
    if expected <= page["next"]:
        raise SystemExit(f"row {expected} of {organization} is missing: the ledger goes on to {page['next']}")


def catch_up(copy, address, key, organization, head):
    """Copy every row of a ledger that is there; tells how many were new."""
    count, last = 0, last_copied(copy, organization)
    if head < last:
        raise SystemExit(
            f"the ledger of {organization} ends at {head}, and {last} was copied: an older backup?"
        )
    while last < head:
        page = ask(address, key, "/v1/usage/entries", organization=organization, after=last, limit=PAGE)
        require(copy, page, organization, last)
        add(copy, ((organization, entry) for entry in page["items"]))
        count, last, head = count + len(page["items"]), page["next"], page["head"]
    return count


def main():
    """Copy what is there, and say how much was new."""
    (address, path, *archives), key = sys.argv[1:], os.environ["TURNLEDGER_KEY"]
    copy = open_copy(path)
    for archive in archives:
        load(copy, archive)
    count = sum(
        catch_up(copy, address, key, ledger["organization_id"], ledger["head"])
        for ledger in heads(address, key)
    )
    print(f"{count} new rows")


if __name__ == "__main__":
    main()
