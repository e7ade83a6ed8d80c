#!/usr/bin/python3
"""Transactions enqueue calls, half of them are rolled back, and what is on the way breaks.

everything  applications, relays, nodes, Redis, PostgreSQL: one of them every 1 to 3 seconds
restarts    PostgreSQL alone, by a fast and an immediate shutdown in turn; nobody else is started again

Four applications (C, libpq, cel_send_in) write a number and send a call in one transaction, every second of which
is rolled back. Two beats relay the outbox to Redis (appendfsync always); two workers run the calls, each of which
adds a row and counts in one transaction with its marker (CEL_ONCE). In the end the committed numbers must be the
executed ones, each once, and the counters must add up. In the part restarts the workers write a ledger as well, whose
backlog is short: what it has and what it says that it lost must be all attempts.

What was killed is started again, as a service manager does. `lag` is the time from a commit to the message in
Redis, measured afterwards, with nothing broken. Recovery is the time from the server's first answer until every node
has executed a task again.
"""
import contextlib
import os
import re
import signal
import subprocess
import sys
import time

from common import (BUILD, COUNTED, Node, PostgresServer, Questions, Table, chance, counts, dead_ids, is_over, parser, percentile, places, say,
                    wait_until, work_folder)
from redisplace import Single
from support.servers import CELERIAC, Daemon, celeriac, thaw

LEASE = 3.0
APPLICATIONS = 4
ENDLESS = 4 * 10**8  # transactions
RECOVERY = 30.0  # a restart that is not recovered from within so many seconds is a finding


class Application:
    """One that goes through its numbers; started again it goes on behind the last one that it has committed."""

    def __init__(self, world, first, count):
        self.world, self.first, self.end, self.process = world, first, first + count, None

    def start(self):
        done = self.world.query("SELECT max(n) FROM bought WHERE n >= %d AND n < %d" % (self.first, self.end))[0][0]
        begin = self.first if done is None else done + 1
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tests", "outbox_buyer"), self.world.postgres.uri, str(begin), str(self.end - begin),
             "chaos.once", str(self.world.options.pause)], stdout=subprocess.DEVNULL, stderr=self.world.log)

    def is_over(self):
        return self.process.poll() is not None

    def kill(self):
        self.process.kill()
        self.process.wait()


class World:
    def __init__(self, options, folder, place, transactions, *worker_arguments):
        self.options, self.place = options, place
        self.postgres = PostgresServer(folder, options={"synchronous_commit": "on"}).start()
        celeriac("migrate", environment={"CELERIAC_DATABASE_URL": self.postgres.uri}, check=True)
        self.query = Questions(self.postgres).query
        self.query("CREATE TABLE bought (n bigint PRIMARY KEY);" + COUNTED, False)
        self.beats = [Daemon([CELERIAC, "beat", "-b", place.server.url, "--database", self.postgres.uri, "-l", "warning",
                              "--lease", f"{LEASE:.0f}s"], folder, f"beat{i}") for i in range(2)]
        self.nodes = [Node(place.front(name), folder, name, *worker_arguments, lease=f"{LEASE:.0f}s", modules=("chaos",),
                           postgres=self.postgres, level="warning") for name in ("one", "two")]
        share = transactions // APPLICATIONS
        self.applications = [Application(self, i * share, share) for i in range(APPLICATIONS)]
        self.chance = chance(options, "faults")
        self.log = open(os.path.join(folder, "applications.log"), "ab")

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
        self.log.close()


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


def restart_postgres(world, how=None, most=1.0):
    """`how`: SIGINT is a fast shutdown, SIGQUIT an immediate one; up to `most` seconds later it starts again."""
    world.postgres.stop(how or world.chance.choice((signal.SIGINT, signal.SIGQUIT)))
    time.sleep(world.chance.uniform(0, most))
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


def recovery(world):
    """Seconds from now until every node has executed a task."""
    begin = time.time()

    def first_ones():
        rows = world.query("SELECT extract(epoch FROM min(at)) FROM executed WHERE at > to_timestamp(%.6f) GROUP BY node" % begin)
        return [float(at) for at, in rows] if len(rows) == len(world.nodes) else None

    return max(wait_until(first_ones, RECOVERY, "all nodes execute tasks again", 0.02)) - begin


def is_alive(part):
    return getattr(part, "daemon", part).process.poll() is None


def restart_again_and_again(world, table):
    """Under load: the applications go on until the last one is recovered from."""
    pids = [part.pid for part in (*world.beats, *world.nodes)]
    for number in range(world.options.restarts):
        name, how = (("fast", signal.SIGINT), ("immediate", signal.SIGQUIT))[number % 2]
        time.sleep(world.chance.uniform(0.5, 2))
        restart_postgres(world, how, 2.0)
        seconds = recovery(world)
        table.add(f"PostgreSQL restart, {name}", seconds=seconds)
        say(f"{name}, recovered in {seconds:.2f} s; {world.query('SELECT count(*) FROM bought')[0][0]} committed")
    for application in world.applications:
        application.kill()
    ended = [part.text() for part in (*world.beats, *world.nodes) if not is_alive(part)]
    if ended or pids != [part.pid for part in (*world.beats, *world.nodes)]:
        raise AssertionError(f"a daemon has ended: {ended}")


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


def given_back(node):
    """How many claims it gave back without a run."""
    node.send_signal(signal.SIGUSR1)
    node.daemon.says("msg=Report")
    return int(re.findall(r"msg=Report .* given_back=(\d+)", node.text())[-1])


def audit_ledger(world, table):
    """Ends the nodes: what they wrote and what they lost must be all attempts, and each row an attempt of its own."""
    with world.place.client() as client:
        attempts = counts(client)["claimed"] - sum(map(given_back, world.nodes))
    for node in world.nodes:
        node.stop()
    [(written, lost)] = world.query("SELECT sum(attempts)::bigint, sum(lost)::bigint FROM celeriac.ledger_node")
    rows, distinct = world.query("SELECT count(*), count(DISTINCT (task_id, received_at)) FROM celeriac.ledger")[0]
    table.note(f"restarts: {attempts} attempts, {written} in the ledger, {lost} counted as lost to it")
    return attempts != written + lost or not written == rows == distinct


def audit(world, table, part):
    committed = {n for n, in world.query("SELECT n FROM bought")}
    executed = [n for n, in world.query("SELECT n FROM executed")]
    total = int(world.query("SELECT sum(total) FROM counter")[0][0])
    with world.place.client() as client:
        buried = len(dead_ids(client))
    strangers = set(executed) - committed
    lost, doubled = len(committed - set(executed)), len(executed) - len(set(executed))
    table.add(f"({part}: in the end)", 0, lost=lost, doubled=doubled)
    table.note(f"{part}: {len(committed)} committed, {len(executed)} executed, {len(strangers)} of them rolled back; "
               f"the counters say {total}; {buried} in quarantine; seed {world.options.seed}")
    measured = lags(world, 20 if world.options.smoke else 500)
    table.note(f"{part}: publish lag p50 {percentile(measured, 0.5) * 1000:.1f} ms, p99 {percentile(measured, 0.99) * 1000:.1f} ms")
    return lost or doubled or strangers or total != len(committed) or buried


# --- the parts ----------------------------------------------------------------------------------


@contextlib.contextmanager
def running(options, folder, transactions, *worker_arguments):
    place, world = Single(folder), None
    try:
        world = World(options, folder, place, transactions, *worker_arguments)
        world.start()
        yield world
    finally:
        if world:
            world.stop()
        place.stop()


def everything(options, folder, table):
    with running(options, folder, options.transactions) as world:
        harass(world, table)
        finish(world)
        return audit(world, table, "everything")


def restarts(options, folder, table):
    settings = os.path.join(folder, "celeriac.ini")
    with open(settings, "w") as file:
        file.write("[worker]\nledger = full\nledger_backlog = 200\n")
    with running(options, folder, ENDLESS, "--config", settings, "-l", "info") as world:
        restart_again_and_again(world, table)
        finish(world)
        wrong = audit(world, table, "restarts")
        return audit_ledger(world, table) or wrong


PARTS = {"everything": everything, "restarts": restarts}


def main():
    options = parser(__doc__)
    options.add_argument("--only", default=",".join(PARTS), help="parts, comma-separated")
    options.add_argument("--transactions", type=int, default=100000, help="of the part everything (default 100000)")
    options.add_argument("--restarts", type=int, default=40, help="of the part restarts (default 40)")
    options.add_argument("--pause", type=int, default=4000, metavar="US", help="of an application after each (default 4000)")
    options = options.parse_args()
    if options.smoke:
        options.transactions, options.restarts = 4000, 4
    table, wrong = Table("Outbox: transactions that enqueue, half of them rolled back"), False
    with work_folder(options, "celeriac-outbox-") as folder:
        for name in options.only.split(","):
            own = os.path.join(folder, name)
            os.makedirs(own, mode=0o755, exist_ok=True)
            wrong = PARTS[name](options, own, table) or wrong
    table.print(options)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
