"""The guard of requests to addresses that users choose: the address that was checked is the one dialled.

A name is resolved here, every address behind it must be public or allowed, and the connection goes to one of
those very addresses, so that a second, different answer of the name service is never asked for. The name
stays in the `Host` field and in TLS. Each call has connections of its own: what one organization may reach
is never reused by another.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cache
from typing import TypeAlias

import httpcore2
import httpx2

from api.runner.tools.addresses import AllowedHosts, is_public, is_usual_port, read_address

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the addresses of a host, for a port."""


class AddressRefused(httpcore2.ConnectError):
    """The request may not go there; the message is a sentence."""


class Guard:
    """Makes clients that connect only to where they may."""

    def __init__(
        self,
        *,
        resolve: Resolve | None = None,
        verify: ssl.SSLContext | None = None,
        connect_seconds: float = 10,
    ) -> None:
        """`resolve` and `verify` are the system's unless given."""
        self._resolve = resolve or _resolve
        self._verify = verify
        self._connect_seconds = connect_seconds

    def client(
        self, allowed: AllowedHosts, *, headers: dict[str, str] | None = None, read_seconds: float
    ) -> httpx2.AsyncClient:
        """Make a client that follows no redirect and looks at no proxy of the environment.

        Where it may not go, its calls raise `httpx2.ConnectError` with a sentence.
        """
        return httpx2.AsyncClient(
            transport=_Transport(_Backend(self._resolve, allowed), self._verify or _system_trust()),
            headers=headers,
            timeout=httpx2.Timeout(read_seconds, connect=self._connect_seconds),
            follow_redirects=False,
            trust_env=False,
        )


class _Transport(httpx2.AsyncHTTPTransport):
    """httpx2's own, over a pool that dials through the guard."""

    def __init__(self, backend: "_Backend", verify: ssl.SSLContext) -> None:
        # Not the parent's: it takes no network backend, and the pool is all that it makes.
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=verify, max_connections=20, max_keepalive_connections=20, network_backend=backend
        )


class _Backend(httpcore2.AsyncNetworkBackend):
    def __init__(self, resolve: Resolve, allowed: AllowedHosts) -> None:
        self._resolve = resolve
        self._allowed = allowed
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        failure: Exception | None = None
        try:
            async with asyncio.timeout(timeout):
                for address in await self._checked(host, port):
                    try:
                        return await self._backend.connect_tcp(
                            address, port, local_address=local_address, socket_options=socket_options
                        )
                    except httpcore2.ConnectError as error:
                        failure = error
        except TimeoutError:
            raise httpcore2.ConnectTimeout(f"{host} did not accept a connection in time.") from None
        raise httpcore2.ConnectError(f"{host} does not accept connections.") from failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface is httpcore's
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise AddressRefused("Only network addresses may be called.")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _checked(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of which may be called.

        Raises:
            AddressRefused: one of them may not; which one is not told, since it is a fact of our network.
            httpcore2.ConnectError: there are none.
        """
        if not (is_usual_port(port) or self._allowed.names_port(host, port)):
            raise AddressRefused(f"Port {port} is not one that tools may call.")
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"There is no host {host}.") from error
        if not found:
            raise httpcore2.ConnectError(f"There is no host {host}.")
        for text in found:
            address = read_address(text)
            if address is None or not (is_public(address) or self._allowed.allow(host, port, address)):
                raise AddressRefused(f"{host} is not a public host, and this organization may not call it.")
        return list(dict.fromkeys(found))


@cache
def _system_trust() -> ssl.SSLContext:
    """Made once, since reading the certificates takes longer than a call; `SSL_CERT_FILE` counts."""
    return httpx2.create_ssl_context()


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
