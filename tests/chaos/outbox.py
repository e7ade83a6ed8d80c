#!/usr/bin/python3
"""Transactions enqueue calls, half of them are rolled back, and everything on the way is killed.

Four applications (C, libpq, cel_send_in) write a number and send a call in one transaction, every second of which
is rolled back. Two beats relay the outbox to Redis (appendfsync always); two workers run the calls, each of which
adds a row and counts in one transaction with its marker (CEL_ONCE). Meanwhile one of these breaks every 1 to 3
seconds. In the end the committed numbers must be the executed ones, each once, and the counters must add up.

What was killed is started again, as a service manager does. `lag` is the time from a commit to the message in
Redis, measured afterwards, with nothing broken.
"""
import os
import signal
import subprocess
import sys
import time

from common import (BUILD, COUNTED, Node, PostgresServer, Questions, Table, chance, dead_ids, is_over, parser, percentile, places, say,
                    wait_until, work_folder)
from redisplace import Single
from support.servers import CELERIAC, Daemon, celeriac, thaw

LEASE = 3.0
APPLICATIONS = 4


class Application:
    """One that goes through its numbers; started again it goes on behind the last one that it has committed."""

    def __init__(self, world, first, count):
        self.world, self.first, self.end, self.process = world, first, first + count, None

    def start(self):
        done = self.world.query("SELECT max(n) FROM bought WHERE n >= %d AND n < %d" % (self.first, self.end))[0][0]
        begin = self.first if done is None else done + 1
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tests", "outbox_buyer"), self.world.postgres.uri, str(begin), str(self.end - begin),
             "chaos.once", str(self.world.options.pause)], stdout=subprocess.DEVNULL)

    def is_over(self):
        return self.process.poll() is not None

    def kill(self):
        self.process.kill()
        self.process.wait()


class World:
    def __init__(self, options, folder, place):
        self.options, self.place = options, place
        self.postgres = PostgresServer(folder, options={"synchronous_commit": "on"}).start()
        celeriac("migrate", environment={"CELERIAC_DATABASE_URL": self.postgres.uri}, check=True)
        self.query = Questions(self.postgres).query
        self.query("CREATE TABLE bought (n bigint PRIMARY KEY);" + COUNTED, False)
        self.beats = [Daemon([CELERIAC, "beat", "-b", place.server.url, "--database", self.postgres.uri, "-l", "warning",
                              "--lease", f"{LEASE:.0f}s"], folder, f"beat{i}") for i in range(2)]
        self.nodes = [Node(place.front(name), folder, name, lease=f"{LEASE:.0f}s", modules=("chaos",),
                           postgres=self.postgres, level="warning") for name in ("one", "two")]
        share = options.transactions // APPLICATIONS
        self.applications = [Application(self, i * share, share) for i in range(APPLICATIONS)]
        self.chance = chance(options, "faults")

    def start(self):
        for part in (*self.beats, *self.nodes, *self.applications):
            part.start()

    def stop(self):
        for application in self.applications:
            if application.process:
                application.kill()
        for part in (*self.beats, *self.nodes):
            part.stop()
        self.postgres.stop()


# --- the faults ---------------------------------------------------------------------------------


def kill_application(world):
    application = world.chance.choice(world.applications)
    if not application.is_over():
        application.kill()
        application.start()


def kill_beat(world):
    beat = world.chance.choice(world.beats)
    beat.stop(signal.SIGKILL)
    time.sleep(0.2)
    beat.start()


def kill_node(world):
    node = world.chance.choice(world.nodes)
    node.kill()
    time.sleep(0.2)
    node.start()


def freeze_node(world):
    node = world.chance.choice(world.nodes)
    frozen = [node.pid, *node.children()]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(LEASE + world.chance.uniform(0.5, 2))
    thaw(frozen)


def kill_child(world):
    children = world.chance.choice(world.nodes).children()
    if children:
        os.kill(world.chance.choice(children), signal.SIGKILL)


def restart_redis(world):
    world.place.server.stop(world.chance.choice((signal.SIGKILL, signal.SIGTERM)))
    time.sleep(world.chance.uniform(0, 1))
    world.place.server.start()


def restart_postgres(world):
    world.postgres.stop(world.chance.choice((signal.SIGINT, signal.SIGQUIT)))
    time.sleep(world.chance.uniform(0, 1))
    world.postgres.start()


FAULTS = {"application SIGKILL": kill_application, "relay SIGKILL": kill_beat, "node SIGKILL": kill_node,
          "node SIGSTOP beyond its lease": freeze_node, "child SIGKILL": kill_child, "Redis restart": restart_redis,
          "PostgreSQL restart": restart_postgres}


# --- the run ------------------------------------------------------------------------------------


def harass(world, table):
    """Breaks one thing after the other, each as often as the others, until the applications are done."""
    bag = []
    while not all(application.is_over() for application in world.applications):
        time.sleep(world.chance.uniform(0.5, 2))
        if not bag:
            bag = world.chance.sample(list(FAULTS), len(FAULTS))
        name = bag.pop()
        FAULTS[name](world)
        table.add(name)
        say(f"{name}; {world.query('SELECT count(*) FROM bought')[0][0]} committed")


def finish(world):
    def over():
        with world.place.client() as client:
            return world.query("SELECT count(*) FROM celeriac.outbox")[0][0] == 0 and is_over(client)

    try:
        wait_until(over, 600, "everything is over", 0.5)
    except AssertionError as error:
        with world.place.client() as client:
            say(f"{error}: {places(client)}")


def lags(world, count):
    """Seconds from a commit until the message is in Redis."""
    found = []
    with world.place.client() as client:
        for _ in range(count):
            world.query("""SELECT celeriac.enqueue('chaos.lag', options => '{"queue": "lag"}')""")
            begin = time.monotonic()
            client.brpop("lag", 10)
            found.append(time.monotonic() - begin)
    return found


def audit(world, table):
    committed = {n for n, in world.query("SELECT n FROM bought")}
    executed = [n for n, in world.query("SELECT n FROM executed")]
    total = int(world.query("SELECT sum(total) FROM counter")[0][0])
    with world.place.client() as client:
        buried = len(dead_ids(client))
    strangers = set(executed) - committed
    lost, doubled = len(committed - set(executed)), len(executed) - len(set(executed))
    table.add("(in the end)", 0, lost=lost, doubled=doubled)
    table.note(f"{world.options.transactions} transactions, {len(committed)} committed, {len(executed)} executed, "
               f"{len(strangers)} of them rolled back; the counters say {total}; {buried} in quarantine; "
               f"seed {world.options.seed}")
    measured = lags(world, 20 if world.options.smoke else 500)
    table.note(f"publish lag p50 {percentile(measured, 0.5) * 1000:.1f} ms, p99 {percentile(measured, 0.99) * 1000:.1f} ms")
    return lost or doubled or strangers or total != len(committed) or buried


def main():
    options = parser(__doc__)
    options.add_argument("--transactions", type=int, default=100000, help="how many (default 100000)")
    options.add_argument("--pause", type=int, default=4000, metavar="US", help="of an application after each (default 4000)")
    options = options.parse_args()
    if options.smoke:
        options.transactions = 4000
    with work_folder(options, "celeriac-outbox-") as folder:
        place = Single(folder)
        world, table = None, Table(f"Outbox: {options.transactions} transactions, half rolled back")
        try:
            world = World(options, folder, place)
            world.start()
            harass(world, table)
            finish(world)
            wrong = audit(world, table)
        finally:
            if world:
                world.stop()
            place.stop()
        table.print(options)
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
