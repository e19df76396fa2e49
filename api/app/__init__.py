"""The composition root, the only place that sees everything.

service       from the settings to a service that answers, and back to nothing
worker        the same without HTTP: runners alone
process       what both run on: database, store, doorbell, sweeps, runners
composition   models and runners, built from the settings
tools         the toolbox, built from the settings
asgi          the Litestar application
database      the embedded or the external Postgres, migrated, as an open pool
first_start   what an embedded service makes for the person who starts it
secrets_key   the keys that secrets are encrypted with
local_access  the file that tells them where it is, and its key
server        sockets, signals and uvicorn
host_guard    refuses other Host headers on a loopback address
key_uses      writes when API keys were last used
sweeps        forgets what nobody asks for any more, denies what nobody has decided in time
"""
