"""TCP proxies that break connections in the middle of an answer, or go away."""

from __future__ import annotations

import asyncio
from typing import Self


class CuttingProxy:
    """Passes bytes on to `upstream` (host:port), and cuts the first `cuts` connections that answer with more
    than `after_bytes`."""

    def __init__(self, upstream: str, *, after_bytes: int, cuts: int, silently: bool = False) -> None:
        """`silently`: connections are not cut, they only bring no more."""
        self._host, _, port = upstream.rpartition(":")
        self._port = int(port)
        self._after_bytes = after_bytes
        self.cuts_left = cuts
        self._silently = silently
        self.endpoint = ""
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.endpoint = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def _close(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        requests = asyncio.create_task(_pump(reader, up_writer, None))
        try:
            limit = self._after_bytes if self.cuts_left else None
            if await _pump(up_reader, writer, limit):
                self.cuts_left -= 1
                if self._silently:
                    await asyncio.Event().wait()
        finally:
            requests.cancel()
            for stream in (writer, up_writer):
                stream.close()
            await asyncio.gather(
                requests, writer.wait_closed(), up_writer.wait_closed(), return_exceptions=True
            )


class LeavingProxy(CuttingProxy):
    """Passes everything on, except while it is away."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream, after_bytes=0, cuts=0)
        self._silent = False

    async def leave(self, *, silent: bool) -> None:
        """Cut all connections; new ones are refused, or (`silent`) taken and never answered."""
        await self._close()
        self._silent = silent
        if silent:
            await self._listen()

    async def come_back(self) -> None:
        """As it was."""
        await self._close()
        self._silent = False
        await self._listen()

    async def _listen(self) -> None:
        host, _, port = self.endpoint.rpartition(":")
        self._server = await asyncio.start_server(self._accept, host, int(port))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._silent:
            await super()._serve(reader, writer)
            return
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None) -> bool:
    """Copies until the end, or until more than `limit` bytes have come: then True."""
    passed = 0
    while data := await source.read(65536):
        passed += len(data)
        if limit is not None and passed > limit:
            return True
        sink.write(data)
        await sink.drain()
    return False
