"""A network that loses answers: TCP proxies that cut, delay and drop what comes back."""

import asyncio
import contextlib
import random


class Proxy:
    """Passes connections on to one port of this machine, badly while `is_bad` is set."""

    def __init__(self, target_port: int, *, seed: int, cut: float, delay: float, drop: float) -> None:
        """`cut`, `delay` and `drop` are chances for each piece that comes back from the target."""
        self._target_port = target_port
        self._random = random.Random(seed)
        self._chances = (cut, delay, drop)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.is_bad = True
        self.fault_count = 0
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut what is left and listen no more."""
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        target: asyncio.StreamWriter | None = None
        try:
            back, target = await asyncio.open_connection("127.0.0.1", self._target_port)
            there = asyncio.create_task(_copy(reader, target))
            here = asyncio.create_task(self._copy_badly(back, writer))
            await asyncio.wait({there, here}, return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            here.cancel()
            await asyncio.gather(there, here, return_exceptions=True)
        except OSError:
            pass
        except asyncio.CancelledError:
            pass  # the proxy stops; the stream protocol would report the cancellation as an error
        finally:
            self._connections.discard(task)
            for side in (writer, target):
                if side is not None:
                    side.transport.abort()

    async def _copy_badly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut, delay, drop = self._chances
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                chance = self._random.random() if self.is_bad else 1.0
                if chance < cut:
                    self.fault_count += 1
                    writer.write(data[: self._random.randrange(len(data))])
                    await writer.drain()
                    return
                if chance < cut + drop:
                    self.fault_count += 1
                    return
                if chance < cut + drop + delay:
                    self.fault_count += 1
                    await asyncio.sleep(self._random.uniform(0.05, 0.6))
                writer.write(data)
                await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
