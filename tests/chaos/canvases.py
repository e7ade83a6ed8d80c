#!/usr/bin/python3
"""Random canvases on a fleet of Celery's and Celeriac's workers, whose Celeriac nodes are killed at random.

    canvases.py                       500 canvases, two nodes of Celeriac and one of Celery, a kill a second
    canvases.py --kills 0             nobody is killed
    canvases.py --workers celery      Celery's worker alone, --workers celeriac: ours alone
    canvases.py --only 17             the canvas of one seed

A canvas is a tree of chains, groups, chords, callbacks and tasks that replace themselves (tests/conformance/canvases.py).
Its result, and the marks of its callbacks, are known before: by evaluating it. Celery's worker is not killed, as it would
lose what it has taken. Each canvas must come to its result; a mark may stand twice where its task ran again.
"""
import os
import sys
import time

from common import ROOT, Background, Node, RedisServer, Table, chance, free_port, parser, work_folder
from support.celery_client import take_leave
from support.servers import Daemon

CONFORMANCE = os.path.join(ROOT, "tests", "conformance")
AT_ONCE = 8  # canvases under way
PATIENCE = 30  # seconds in which not one of them ends


class Python:
    """Celery's prefork worker with the same tasks."""

    def __init__(self, folder, environment):
        self.daemon = Daemon(["/usr/bin/python3", "-B", "-m", "celery", "-A", "t.integration.tasks", "--workdir", CONFORMANCE,
                              "worker", "-c", "2", "-l", "info", "-n", "p@chaos"], folder, "p", environment, ready="ready.")

    def start(self):
        self.daemon.start(60)

    def stop(self):
        self.daemon.stop()


class Killer:
    """Kills one node after another, with its processes, and starts it again."""

    def __init__(self, nodes, options, table):
        self.nodes, self.pause, self.table = nodes, options.kills, table
        self.random, self.stopped = chance(options, "kills"), False
        self.work = Background(self.run)

    def run(self):
        while not self.stopped and self.pause and self.nodes:
            time.sleep(self.pause * self.random.uniform(0.5, 1.5))
            if self.stopped:
                return
            victim = self.random.choice(self.nodes)
            victim.kill()
            self.table.add("node killed")
            victim.start()

    def stop(self):
        self.stopped = True
        self.work.join()


class Wave:
    """Keeps some canvases under way until all have ended, and judges each."""

    def __init__(self, redis, seeds, table):
        from conformance import canvases  # it connects to the server that the environment names now

        self.made, self.redis, self.table = canvases, redis, table
        self.waiting, self.pending, self.all = list(seeds), [], []
        self.began = {}

    def run(self):
        self.moved = time.monotonic()
        while self.waiting or self.pending:
            self.send()
            self.look()
            if time.monotonic() - self.moved > PATIENCE:
                for canvas, _ in self.pending:
                    self.blame(canvas, "does not end")
                return
            time.sleep(0.05)

    def send(self):
        while self.waiting and len(self.pending) < AT_ONCE:
            canvas = self.made.Canvas(self.waiting.pop(0))
            self.began[canvas.seed] = time.monotonic()
            self.all.append(canvas)
            self.pending.append((canvas, canvas.send()))

    def look(self):
        for canvas, result in list(self.pending):
            found = self.made.outcome(self.redis, result)
            if found is self.made.PENDING:
                continue
            self.pending.remove((canvas, result))
            self.moved = time.monotonic()
            self.table.add("canvas", seconds=self.moved - self.began[canvas.seed])
            if found != canvas.expected:
                self.blame(canvas, f"came to {found}")

    def blame(self, canvas, what):
        self.table.add("canvas", tried=0, lost=1)
        self.table.note(f"seed {canvas.seed} {what}: {canvas.tree} = {canvas.expected}")

    def marks(self):
        """Callbacks whose marks are missing, or there without reason, or more than once."""
        expected = set.union(set(), *(canvas.marks for canvas in self.all))
        end = time.monotonic() + PATIENCE
        while expected - self.found() and time.monotonic() < end:
            time.sleep(0.1)
        found = self.redis.lrange(self.all[0].key, 0, -1)
        missing, needless = expected - self.found(), self.found() - expected
        self.table.add("callback", tried=len(expected), lost=len(missing), doubled=len(found) - len(self.found()))
        if missing or needless:
            self.table.note(f"marks missing: {sorted(missing)[:20]}, needless: {sorted(needless)[:20]}")
        return not missing and not needless

    def found(self):
        return {text.decode() for text in self.redis.lrange(self.all[0].key, 0, -1)}


def run(options, folder, table):
    with RedisServer(folder, port=free_port()) as server:
        environment = {"CELERY_BROKER_URL": server.url, "CELERY_RESULT_BACKEND": server.url, "REDIS_HOST": "127.0.0.1",
                       "REDIS_PORT": str(server.port)}
        os.environ.update(environment)
        sys.path.insert(0, CONFORMANCE)
        nodes = [] if options.workers == "celery" else [
            Node(server, folder, f"c{n}", lease="2s", modules=("conformance",)) for n in range(2)]
        others = [] if options.workers == "celeriac" else [Python(folder, environment)]
        seeds = [options.only] if options.only is not None else range(options.seed, options.seed + options.canvases)
        wave = Wave(server.client(), seeds, table)
        try:
            for worker in nodes + others:
                worker.start()
            killer = Killer(nodes, options, table)
            try:
                wave.run()
            finally:
                killer.stop()
            return wave.marks()
        finally:
            take_leave(wave.made.tasks.app)
            for worker in nodes + others:
                worker.stop()


def main():
    options = parser(__doc__)
    options.add_argument("--canvases", type=int, metavar="N", help="how many (default 500)")
    options.add_argument("--only", type=int, metavar="SEED", help="this one alone")
    options.add_argument("--kills", type=float, metavar="SECONDS", help="between two kills, 0: none (default 1)")
    options.add_argument("--workers", choices=("mixed", "celeriac", "celery"), default="mixed", help="the fleet (default mixed)")
    options = options.parse_args()
    options.canvases = options.canvases or (60 if options.smoke else 500)
    if options.kills is None:
        options.kills = 1
    table = Table("random canvases: workers " + options.workers)
    with work_folder(options, "celeriac-canvases-") as folder:
        good = run(options, folder, table)
    table.print(options)
    return 0 if good and not table.lost() else 1


if __name__ == "__main__":
    sys.exit(main())
