"""A proxy between workers and Redis that understands the protocol and misbehaves on request.

    proxy = Proxy(folder, redis).start()      # `redis` has a unix socket; so has the proxy: proxy.url
    proxy.sever()                             # every connection is cut; new ones are served
    proxy.cut(); proxy.restore()              # no connection at all, until restored
    proxy.black_hole(); proxy.restore()       # half-open: nothing passes, nothing is closed. What was connected
                                              # then stays dead when new connections are served again
    proxy.delay = 0.05                        # seconds, each way
    proxy.watch(Fault("complete", 2, action)) # breaks at the reply of the second complete.lua

A watching proxy names each command: EVALSHA by its script (commands/*.lua), others by their first word,
"SCRIPT LOAD" and "CLIENT UNBLOCK" by two. `proxy.seen` counts them, over all connections.

It is a thread with an event loop of its own; its methods may be called from any other thread.
"""
import asyncio
import collections
import contextlib
import glob
import hashlib
import os
import threading
import time

from common import ROOT, lua_script

CHUNK = 1 << 16
NAMES = [os.path.basename(path)[:-4] for path in glob.glob(os.path.join(ROOT, "commands", "*.lua"))]
SCRIPTS = {hashlib.sha1(lua_script(name).encode()).hexdigest().encode(): name for name in NAMES}
TWO_WORDS = (b"SCRIPT", b"CLIENT", b"COMMAND")


# --- the protocol -------------------------------------------------------------------------------


def end_of(data, at):
    """Where the value at `at` ends; -1 when it is not complete."""
    line = data.find(b"\r\n", at)
    if line < 0:
        return -1
    kind, size = data[at:at + 1], line + 2
    if kind in (b"+", b"-", b":"):
        return size
    count = int(data[at + 1:line])
    if kind == b"$":
        end = size + (count + 2 if count >= 0 else 0)
        return end if end <= len(data) else -1
    if kind != b"*":
        raise ValueError(f"no RESP: {bytes(data[at:at + 20])!r}")
    at = size
    for _ in range(count):
        at = end_of(data, at)
        if at < 0:
            return -1
    return at


class Values:
    """Cuts a stream into whole values."""

    def __init__(self):
        self.rest = bytearray()

    def feed(self, data):
        self.rest += data
        at = 0
        while at < len(self.rest):
            end = end_of(self.rest, at)
            if end < 0:
                break
            yield bytes(self.rest[at:end])
            at = end
        del self.rest[:at]


def name_of(command):
    """What a command is called in a list of points."""
    words = command.split(b"\r\n", 5)[2::2]
    first = words[0].upper()
    if first == b"EVALSHA":
        return SCRIPTS.get(words[1], "EVALSHA")
    if first in TWO_WORDS:
        return f"{first.decode()} {words[1].upper().decode()}"
    return first.decode()


class Fault:
    """Breaks once, at the `ordinal`-th command `name` (1 is the first). `when` "replied": Redis has run it and
    the reply is not handed on; "sent": it never reaches Redis. Then `action()` runs in the proxy's thread, and
    the connection is cut."""

    def __init__(self, name, ordinal, action=None, when="replied"):
        self.name, self.ordinal, self.action, self.when = name, ordinal, action, when
        self.at = None  # the moment at which it struck

    def strike(self):
        self.at = time.monotonic()
        if self.action:
            self.action()


# --- the proxy ----------------------------------------------------------------------------------


class Cut(Exception):
    """This connection ends here."""


class Link:
    """One connection of a worker and its other half to Redis."""

    def __init__(self, proxy, reader, writer):
        self.proxy, self.reader, self.writer, self.upstream = proxy, reader, writer, None
        self.is_hole = False
        self.commands, self.replies, self.expected = Values(), Values(), collections.deque()

    async def run(self):
        try:
            if self.proxy.is_hole:
                self.is_hole = True
            else:
                server, self.upstream = await asyncio.open_unix_connection(self.proxy.server.socket)
                ways = [asyncio.ensure_future(self.carry(*way)) for way in (
                    (self.reader, self.upstream, self.up), (server, self.writer, self.down))]
                _, others = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in others:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            while self.is_hole and await self.reader.read(CHUNK):
                pass  # taken, and gone
        except OSError:
            pass
        finally:
            self.close()

    async def carry(self, reader, writer, look):
        with contextlib.suppress(OSError, Cut):
            while data := await reader.read(CHUNK):
                if self.is_hole:
                    continue
                if self.proxy.delay:
                    await asyncio.sleep(self.proxy.delay)
                data = look(data)
                if data and not self.is_hole:
                    writer.write(data)
                    await writer.drain()

    def up(self, data):
        if not self.proxy.is_watching:
            return data
        for command in self.commands.feed(data):
            name = name_of(command)
            fault = self.proxy.note(name)
            self.expected.append(fault)
            if fault and fault.when == "sent":
                fault.strike()
                raise Cut
        return data

    def down(self, data):
        if not self.proxy.is_watching:
            return data
        for _ in self.replies.feed(data):
            fault = self.expected.popleft() if self.expected else None
            if fault:
                fault.strike()
                raise Cut
        return data

    def close(self):
        for writer in (self.writer, self.upstream):
            if writer:
                writer.transport.abort()


class Proxy:
    """In front of `server` (which has a path `socket`), on a unix socket of its own."""

    def __init__(self, folder, server, name="proxy"):
        self.server, self.socket = server, os.path.join(folder, name + ".sock")
        self.delay, self.is_watching, self.is_hole = 0, False, False
        self.seen, self.order, self.fault = collections.Counter(), [], None
        self.links, self.listener = set(), None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    @property
    def url(self):
        return "redis+socket://" + self.socket

    def start(self):
        self.thread.start()
        self.call(self.listen())
        return self

    def stop(self):
        self.cut()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    # in the loop's thread

    async def listen(self):
        self.is_hole = False
        if not self.listener:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket)
            self.listener = await asyncio.start_unix_server(self.serve, self.socket)

    async def serve(self, reader, writer):
        link = Link(self, reader, writer)
        task = asyncio.current_task()
        self.links.add((link, task))
        try:
            await link.run()
        except asyncio.CancelledError:
            link.close()
        finally:
            self.links.discard((link, task))

    async def end_links(self):
        links = list(self.links)
        for link, task in links:
            link.close()
            task.cancel()
        await asyncio.gather(*(task for _, task in links), return_exceptions=True)

    async def end_listening(self):
        if self.listener:
            self.listener.close()
            self.listener = None
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.socket)
        await self.end_links()

    async def swallow(self):
        self.is_hole = True
        for link, _ in self.links:
            link.is_hole = True

    def note(self, name):
        self.seen[name] += 1
        self.order.append(name)
        fault = self.fault
        if fault and fault.name == name and fault.ordinal == self.seen[name] and not fault.at:
            return fault
        return None

    # from outside

    def watch(self, fault=None):
        """Names and counts commands from here on, from nothing; for connections that are made from now on."""
        async def begin():
            self.is_watching, self.fault = True, fault
            self.seen.clear()
            self.order.clear()
        self.call(begin())

    def sever(self):
        self.call(self.end_links())

    def cut(self):
        self.call(self.end_listening())

    def black_hole(self):
        self.call(self.swallow())

    def restore(self):
        self.call(self.listen())
