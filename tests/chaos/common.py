"""What every harness of this folder shares: its options, nodes, effects, the audit and the final table.

A harness is a program: `./crashpoints.py --help`. It starts private servers in a temporary folder, breaks
things in an order that `--seed` fixes, and ends with a table and a status: 0 when nothing was lost and
everything adds up.
"""
import argparse
import atexit
import contextlib
import os
import random
import signal
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from integration.worker.calls import children_of, message  # noqa: E402,F401
from support.servers import (  # noqa: E402,F401
    BUILD, MODULES, PostgresServer, RedisServer, Sentinels, celeriac_worker, free_port, lua_script, stop_process,
    temporary_folder, wait_until)

ENDED = ("done", "expired", "revoked", "dropped", "cancelled")
DURABLE = {"appendonly": "yes", "appendfsync": "always", "save": '""'}  # a Redis that forgets nothing


# --- PostgreSQL ---------------------------------------------------------------------------------

# what chaos.once writes: a row and a count
COUNTED = ("CREATE TABLE executed (n bigint, node text, at timestamptz); CREATE TABLE counter (shard int PRIMARY KEY, "
           "total bigint NOT NULL); INSERT INTO counter SELECT s, 0 FROM generate_series(0, 15) AS s")


class Questions:
    """A connection that is made anew when the server was restarted."""

    def __init__(self, server):
        self.server, self.connection = server, None

    def query(self, text, has_rows=True, seconds=30.0):
        import psycopg2

        end = time.monotonic() + seconds
        while True:
            try:
                if not self.connection or self.connection.closed:
                    self.connection = self.server.connect()
                    self.connection.autocommit = True
                with self.connection.cursor() as cursor:
                    cursor.execute(text)
                    return cursor.fetchall() if has_rows else None
            except psycopg2.Error as error:  # without an SQLSTATE: the server is away, or went in the middle
                if time.monotonic() > end or error.pgcode and not error.pgcode.startswith("57P"):
                    raise
                if self.connection:
                    self.connection.close()
                time.sleep(0.05)


# --- the program --------------------------------------------------------------------------------


def parser(description):
    """The options that every harness has. `--smoke` is the short run of the test suite."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=1, help="what chance does (default 1)")
    options.add_argument("--smoke", action="store_true", help="the short run of the test suite")
    options.add_argument("--output", metavar="FILE", help="write the final table here as well")
    options.add_argument("--keep", metavar="FOLDER", help="work in this folder and leave the logs there")
    return options


def end_children():
    """Whatever the harness has started ends with it, also what a thread was about to stop."""
    for pid in children_of(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def work_folder(options, prefix):
    """A temporary folder, or the one to be kept."""
    atexit.register(end_children)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.keep:
        os.makedirs(options.keep, mode=0o755, exist_ok=True)
        yield os.path.abspath(options.keep)
    else:
        with temporary_folder(prefix) as folder:
            yield folder


def chance(options, *scope):
    """A generator of its own for each purpose, so that one purpose does not shift another's numbers."""
    return random.Random(":".join(map(str, (options.seed, *scope))))


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def percentile(values, part):
    """The smallest of `values` that at least `part` (0 to 1) of them do not exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -int(-part * len(ordered) // 1) - 1)] if ordered else None


class Table:
    """The final table: a row for each fault."""

    def __init__(self, title):
        self.title, self.rows, self.notes = title, {}, []

    def add(self, fault, tried=1, lost=0, doubled=0, seconds=None):
        """Adds to the row of `fault`; `seconds` of one recovery, if it was measured."""
        row = self.rows.setdefault(fault, {"tried": 0, "lost": 0, "doubled": 0, "seconds": []})
        row["tried"] += tried
        row["lost"] += lost
        row["doubled"] += doubled
        if seconds is not None:
            row["seconds"].append(seconds)

    def note(self, text):
        self.notes.append(text)

    def lost(self):
        return sum(row["lost"] for row in self.rows.values())

    def lines(self):
        width = max([len(fault) for fault in self.rows] + [len("fault"), len("all")])
        yield self.title
        yield f"{'fault':{width}} {'tried':>8} {'lost':>6} {'doubled':>8} {'recovery p50':>13} {'max':>9}"
        every = {"tried": 0, "lost": 0, "doubled": 0, "seconds": []}
        for fault, row in self.rows.items():
            for key in every:
                every[key] += row[key]
            yield self.line(fault, row, width)
        if len(self.rows) > 1:
            yield self.line("all", every, width)
        yield from self.notes

    def line(self, fault, row, width):
        middle, most = percentile(row["seconds"], 0.5), percentile(row["seconds"], 1)
        times = (f"{middle:11.2f} s {most:7.2f} s" if row["seconds"] else f"{'-':>13} {'-':>9}")
        return f"{fault:{width}} {row['tried']:8} {row['lost']:6} {row['doubled']:8} {times}"

    def print(self, options):
        text = "\n".join(self.lines())
        print("\n" + text, flush=True)
        if options.output:
            os.makedirs(os.path.dirname(os.path.abspath(options.output)), exist_ok=True)
            with open(options.output, "w") as file:
                file.write(text + "\n")


# --- nodes --------------------------------------------------------------------------------------


class Node:
    """A worker with a name, on `server` (a Redis, a proxy in front of one, or sentinels), that can be ended
    in any way and started again like a service manager would."""

    def __init__(self, server, folder, name, *arguments, lease="3s", concurrency=2, queues="celery",
                 modules=("probe", "chaos"), postgres=None, level="info"):
        self.name, self.starts = name, 0
        self.daemon = celeriac_worker(
            server, folder, modules, "-n", name + "@chaos", "-c", str(concurrency), "-Q", queues, "-l", level, "--lease",
            lease, *arguments, postgres=postgres, name=name)

    def start(self, seconds=20.0):
        self.daemon.start(seconds)
        self.starts += 1
        return self

    def launch(self):
        """Starts without waiting until it is ready."""
        ready, self.daemon.ready = self.daemon.ready, None
        try:
            self.start()
        finally:
            self.daemon.ready = ready
        return self

    @property
    def pid(self):
        return self.daemon.pid

    def text(self):
        return self.daemon.text()

    def is_alive(self):
        return self.daemon.process is not None and self.daemon.process.poll() is None

    def children(self):
        return sorted(pid for pid, state in children_of(self.pid).items() if state != "Z")

    def send_signal(self, number):
        self.daemon.send_signal(number)

    def stop(self, first=signal.SIGTERM, seconds=30.0):
        """Ends it and returns its status; SIGKILL when it does not end in time."""
        return self.daemon.stop(first, seconds)

    def kill(self):
        return self.stop(signal.SIGKILL)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


# --- what was executed --------------------------------------------------------------------------


class Journal:
    """A file to which each execution of a task `chaos.mark` adds one line "<id> <retries>"."""

    def __init__(self, folder, name="journal"):
        self.path = os.path.join(folder, name)

    def runs(self):
        """How often each id ran: {(id, retries): times}."""
        found = {}
        with contextlib.suppress(FileNotFoundError), open(self.path) as file:
            for line in file:
                id, retries = line.split()
                found[id, int(retries)] = found.get((id, int(retries)), 0) + 1
        return found

    def clear(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


# --- the audit ----------------------------------------------------------------------------------


def counts(redis, queue="celery"):
    """What Celeriac counted on a queue: broker/broker.h, struct broker_counts."""
    return {key.decode(): int(value) for key, value in redis.hgetall("celeriac:counts:{%s}" % queue).items()}


def places(redis, queue="celery"):
    """How many messages of a queue are where."""
    lists = [queue] + [f"{queue}\x06\x16{step}" for step in (3, 6, 9)]
    return {
        "waiting": sum(redis.llen(name) for name in lists),
        "staged": sum(redis.llen(key) for key in redis.scan_iter("celeriac:staging:{%s}:*" % queue, 1000)),
        "in flight": sum(redis.hlen(key) for key in redis.scan_iter("celeriac:inflight:{%s}:*" % queue, 1000)),
        "delayed": redis.zcard("celeriac:delayed:{%s}" % queue),
        "dead": redis.xlen("celeriac:dead:{%s}" % queue),
    }


def is_over(redis, queue="celery"):
    """Nothing is on its way any more. Looked at in the order in which a message moves, twice, since one that
    goes back moves against it."""
    return not any(sum(count for place, count in places(redis, queue).items() if place != "dead") for _ in range(2))


def discrepancies(redis, pushed, queue="celery"):
    """Where the two identities of broker/broker.h do not hold, in words. `pushed`: by others than Celeriac."""
    has, now = counts(redis, queue), places(redis, queue)
    wrong = []
    taken = has.get("claimed", 0) - has.get("returned", 0)
    held = now["in flight"] + now["delayed"] + now["dead"] + sum(has.get(key, 0) for key in ENDED)
    if taken != held:
        wrong.append(f"{queue}: claimed - returned = {taken}, but {held} are held or ended: {has} {now}")
    there = has.get("published", 0) + pushed - taken - has.get("purged", 0)
    if there != now["waiting"] + now["staged"]:
        wrong.append(f"{queue}: published + pushed + returned - claimed = {there}, but {now['waiting'] + now['staged']} "
                     f"wait: pushed {pushed} {has} {now}")
    return wrong


def dead_ids(redis, queue="celery"):
    """Ids in quarantine; "" for what has none."""
    return [fields.get(b"task_id", b"").decode() for _, fields in redis.xrange("celeriac:dead:{%s}" % queue)]


class Background:
    """Runs a function in a thread; `join` hands on what it raised."""

    def __init__(self, function, *arguments):
        self.error = self.value = None
        self.thread = threading.Thread(target=self.run, args=(function, arguments), daemon=True)
        self.thread.start()

    def run(self, function, arguments):
        try:
            self.value = function(*arguments)
        except BaseException as error:
            self.error = error

    def join(self, seconds=None):
        self.thread.join(seconds)
        if self.error:
            raise self.error
        return self.value
