#!/usr/bin/python3
"""Exactly-once effects (CEL_ONCE): a call counts once, whatever dies on the way and however often it is delivered.

points      the child gets SIGKILL at each message that its run exchanges with PostgreSQL (enumerated by a run without
            a fault): before the server has it, when the server has it, when the answer is there
delivered   a fifth of the calls is delivered two or three times, at once or later, while children are killed
frozen      a node and its children are stopped beyond its lease with transactions open; another node runs the calls;
            then the first goes on. A commit of its that counts is a stale one

Each call adds a row and one to a counter, in one transaction with its marker. In the end every call has one row and
the counters say how many calls there were.
"""
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import time

from common import (COUNTED, Node, PostgresServer, Table, chance, is_over, message, parser, places, say, wait_until,
                    work_folder)
from redisplace import Single
from support.pg_proxy import PgProxy
from support.servers import celeriac, thaw

LEASE = 3.0


def peer_pid(end):
    return struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[0]


class Points(PgProxy):
    """Counts the messages of each run, and kills its process at one of them."""

    def __init__(self, folder, server):
        super().__init__(folder, server)
        self.seen, self.point, self.when, self.killed = 0, None, None, 0

    def aim(self, point, when):
        with self.lock:
            self.seen, self.point, self.when, self.killed = 0, point, when, 0

    def is_here(self):
        with self.lock:
            self.seen += 1
            if self.point is None or self.seen != self.point:
                return False
            self.point, self.killed = None, self.killed + 1
            return True

    def to_server(self, client, upstream):
        for data in self.chunks(client):
            here = self.is_here()
            if here and self.when == "before":
                self.kill(client)
                break
            upstream.sendall(data)
            if here and self.when == "answered":  # the answer passes in the other thread
                upstream.settimeout(0.2)
                time.sleep(0.02)
            if here:
                self.kill(client)
                break
        self.shut(upstream, socket.SHUT_WR)

    @staticmethod
    def kill(client):
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.kill(peer_pid(client), signal.SIGKILL)


class World:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.place = Single(folder)
        self.postgres = PostgresServer(folder, options={"max_connections": "300"}).start()
        celeriac("migrate", environment={"CELERIAC_DATABASE_URL": self.postgres.uri}, check=True)
        self.postgres.psql(COUNTED)
        self.redis = self.place.client()
        self.next, self.nodes = 0, []

    def node(self, name, concurrency, *arguments, uri=None):
        node = Node(self.place.front(name), self.folder, name, "--database", uri or self.postgres.uri, *arguments,
                    lease=f"{LEASE:.0f}s", concurrency=concurrency, modules=("chaos",), level="warning")
        self.nodes.append(node)
        return node.start()

    def calls(self, count, ms=0):
        """Texts of new calls; each number is used once."""
        texts = [message("chaos.once", n, ms)[1] for n in range(self.next, self.next + count)]
        self.next += count
        return texts

    def wait_over(self, seconds=120):
        wait_until(lambda: is_over(self.redis), seconds, f"all is over, now {places(self.redis)}", 0.02)

    def value(self, sql):
        return int(self.postgres.sql(sql) or 0)

    def faults(self):
        """(lost, doubled) of all calls so far, by rows; and what the counters say too much or too little."""
        rows, calls = self.value("SELECT count(*) FROM executed"), self.value("SELECT count(DISTINCT n) FROM executed")
        return self.next - calls, rows - calls, self.value("SELECT sum(total) FROM counter") - self.next

    def stop_nodes(self):
        while self.nodes:
            self.nodes.pop().stop()

    def stop(self):
        self.stop_nodes()
        self.redis.close()
        self.postgres.stop()
        self.place.stop()


# --- the three parts ----------------------------------------------------------------------------


def points(world, table):
    proxy = Points(world.folder, world.postgres).start()
    world.node("points", 1, uri=proxy.uri)
    world.redis.lpush("celery", *world.calls(1))  # opens the connection
    world.wait_over()
    proxy.aim(None, None)
    world.redis.lpush("celery", *world.calls(1))
    world.wait_over()
    messages = proxy.seen
    say(f"{messages} messages of a run")
    for when in ("before", "sent", "answered"):
        for point in range(1, messages + 1):
            for _ in range(world.options.repeat):
                proxy.aim(point, when)
                world.redis.lpush("celery", *world.calls(1))
                world.wait_over()
                table.add(f"child SIGKILL, {when}", proxy.killed)
    proxy.stop()
    world.stop_nodes()


def delivered(world, table):
    random = chance(world.options, "delivered")
    node = world.node("delivered", 4)
    left = world.options.calls
    while left > 0:
        texts = world.calls(min(left, 100), 1)
        left -= len(texts)
        for text in list(texts):
            if random.random() < 0.2:
                table.add("delivered again", 1)
                again = json.loads(text)
                again["headers"]["redelivered"] = random.random() < 0.5
                texts += [json.dumps(again).encode()] * random.randint(1, 2)
        random.shuffle(texts)
        world.redis.lpush("celery", *texts)
        if random.random() < 0.5:
            os.kill(random.choice(node.children()), signal.SIGKILL)
            table.add("child SIGKILL, anywhere", 1)
        world.wait_over()
    world.stop_nodes()


def open_transactions(world):
    return world.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")


def warm_node(world, name, width):
    """One whose processes are connected."""
    node = world.node(name, width)
    world.redis.lpush("celery", *world.calls(2 * width, 300))
    world.wait_over()
    return node


def frozen(world, table):
    width, trials = world.options.width, world.options.trials
    first = warm_node(world, "first", width)
    while trials > 0:
        count = min(width, trials)
        trials -= count
        world.redis.lpush("celery", *world.calls(count, 3000))
        wait_until(lambda: open_transactions(world) == count, 20, f"{count} open transactions")
        stopped = [first.pid, *first.children()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        second = world.node("second", width)
        wait_until(lambda: world.value("SELECT count(DISTINCT n) FROM executed") == world.next, 60, "all ran elsewhere", 0.1)
        world.wait_over()
        thaw(stopped)
        wait_until(lambda: "The lease was lost" in first.text() and open_transactions(world) == 0, 30, "the first knows")
        world.wait_over()
        table.add("node SIGSTOP beyond its lease", count)
        world.nodes.remove(second)
        second.stop()
        first.stop()
        world.nodes.remove(first)
        os.unlink(first.daemon.log_path)
        if trials > 0:
            first = warm_node(world, "first", width)
        say(f"{trials} trials left")
    world.stop_nodes()


PARTS = {"points": points, "delivered": delivered, "frozen": frozen}


def main():
    options = parser(__doc__)
    options.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    options.add_argument("--repeat", type=int, default=10, help="how often each point is tried (default 10)")
    options.add_argument("--calls", type=int, default=5000, help="of the part delivered (default 5000)")
    options.add_argument("--trials", type=int, default=1000, help="of the part frozen (default 1000)")
    options.add_argument("--width", type=int, default=50, help="trials at once (default 50)")
    options = options.parse_args()
    if options.smoke:
        options.repeat, options.calls, options.trials, options.width = 1, 200, 8, 8
    table, wrong = Table("Exactly-once effects"), False
    with work_folder(options, "celeriac-once-") as folder:
        world = World(options, folder)
        try:
            before = (0, 0, 0)
            for name in options.only.split(","):
                PARTS[name](world, table)
                now = world.faults()
                lost, doubled, off = (a - b for a, b in zip(now, before))
                table.add(f"({name}: in the end)", 0, lost=lost, doubled=doubled)
                table.note(f"{name}: the counters are off by {off}")
                wrong, before = wrong or any((lost, doubled, off)), now
            table.note(f"{world.next} calls; seed {options.seed}")
        finally:
            world.stop()
    table.print(options)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
