#!/usr/bin/python3
"""Delayed tasks: each runs once, and on time.

    etas.py                    10,000 tasks, each due three leases after it was sent, on three nodes
    etas.py --kills 3          the same, and every three seconds a node is killed
    etas.py --park             a million tasks parked through one worker: its memory, before and after, and what is
                               left of them when the worker and Redis were restarted and killed

Lateness is the time from the eta of a task to its first line of code. In the first form a task that ran twice is an
error; with --kills it may run twice if its node was killed meanwhile, and is then marked as redelivered.
"""
import signal
import sys
import time

import redis as redis_client
from common import (Background, Node, RedisServer, chance, counts, is_over, parser, percentile, places, say, wait_until,
                    work_folder)
from marks import Calls, Report

BUSY_MS = 8  # a task's time at most, so that kills hit running ones
PARK_AHEAD_SECONDS, PARK_SPREAD_SECONDS = 420, 60


def now_usec():
    return time.time_ns() // 1000


# --- on time ------------------------------------------------------------------------------------


def send_steadily(redis, calls, options):
    """Sends `tasks` calls at `rate` a second; returns {number: eta}."""
    etas, begun = {}, time.monotonic()
    random = chance(options, "tasks")
    while len(etas) < options.tasks:
        due = min(options.tasks, int((time.monotonic() - begun) * options.rate) + 1)
        batch = []
        for number in range(len(etas), due):
            etas[number] = now_usec() + int(3e6 * options.lease)
            ms = random.randint(0, BUSY_MS) if options.kills else 0
            batch.append(calls.make(number, ms=ms, eta_usec=etas[number]))
        if batch:
            calls.push(redis, batch)
        time.sleep(0.005)
    return etas


class Killer:
    """Kills a node every `pause` seconds and starts it again."""

    def __init__(self, nodes, options):
        self.nodes, self.pause, self.random = nodes, options.kills, chance(options, "kills")
        self.kills, self.stopped = 0, False
        self.work = Background(self.run) if self.pause else None

    def run(self):
        while not self.stopped:
            time.sleep(self.pause * self.random.uniform(0.5, 1.5))
            node = self.random.choice(self.nodes)
            say(f"killing {node.name}")
            node.kill()
            self.kills += 1
            node.start()

    def stop(self):
        self.stopped = True
        if self.work:
            self.work.join()


def judge_runs(report, calls, etas, has_kills):
    runs = calls.executions()
    starts = sum(len(started) for started, _ in runs.values())
    lost = [number for number in etas if not runs[number][1]]
    early = [number for number, eta in etas.items() if any(mark.usec < eta for mark in runs[number][0])]
    silent = [number for number, (started, _) in runs.items() if any(not mark.redelivered for mark in started[1:])]
    report.add("executions", starts)
    report.add("never executed", len(lost))
    report.add("executed again", starts - len(etas) + len(lost))
    report.add("started too early", len(early))
    report.times("lateness", [(runs[n][0][0].usec - eta) / 1e6 for n, eta in etas.items() if runs[n][0]], percentile)
    report.expect(not lost, f"never executed: {lost[:10]}")
    report.expect(not early, f"too early: {early[:10]}")
    report.expect(not silent, f"executed again and not marked as redelivered: {silent[:10]}")
    report.expect(has_kills or starts == len(etas), "a task was executed more than once and nothing was killed")


def run_on_time(options, folder, report):
    calls = Calls(folder, options.seed)
    with RedisServer(folder) as server:
        redis = server.client()
        nodes = [Node(server, folder, f"node{n}", lease=f"{options.lease:g}s", modules=("marks",), level="warning")
                 for n in range(options.nodes)]
        try:
            for node in nodes:
                node.start()
            killer = Killer(nodes, options)
            etas = send_steadily(redis, calls, options)
            time.sleep(max(0, (max(etas.values()) - now_usec()) / 1e6))
            killer.stop()
            wait_until(lambda: is_over(redis), 60, "nothing is left", 0.1)
        finally:
            for node in nodes:
                node.stop()
        report.add("tasks", options.tasks)
        report.add("nodes", options.nodes)
        report.add("lease", f"{options.lease:g} s")
        report.add("sent a second", options.rate)
        report.add("nodes killed", killer.kills)
        judge_runs(report, calls, etas, options.kills > 0)
        done = counts(redis).get("done", 0)
        report.expect(done == options.tasks, f"{done} tasks were counted as done")


# --- a million ----------------------------------------------------------------------------------


class Parked:
    """A queue with `tasks` delayed messages, the worker that parked them, and what became of them."""

    def __init__(self, options, folder, report):
        self.options, self.report = options, report
        self.calls = Calls(folder, options.seed)
        self.server = RedisServer(folder, options={"appendonly": "yes", "appendfsync": "everysec"})
        self.node = Node(self.server, folder, "parker", lease="5s", modules=("marks",), level="warning")

    def memory(self, when):
        """RSS of the supervisor in MiB, into the table."""
        with open(f"/proc/{self.node.pid}/status") as status:
            mib = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024
        self.report.add("worker's RSS, " + when, f"{mib:.1f} MiB")
        say(f"{when}: {mib:.1f} MiB, {places(self.server.client())}")
        return mib

    def fill(self):
        random, redis = chance(self.options, "etas"), self.server.client()
        first = now_usec() + PARK_AHEAD_SECONDS * 10**6
        for start in range(0, self.options.tasks, 10000):
            numbers = range(start, min(start + 10000, self.options.tasks))
            self.calls.push(redis, [self.calls.make(
                n, eta_usec=first + random.randrange(PARK_SPREAD_SECONDS * 10**6), ignore_result=True) for n in numbers])
            wait_until(lambda: places(redis)["waiting"] < 50000, 60, "the worker keeps up")
        self.first_eta = first

    def wait_parked(self, what):
        redis = self.server.client()

        def parked():
            try:
                now = places(redis)
            except redis_client.exceptions.ConnectionError:  # it loads its file
                return False
            return now["delayed"] == self.options.tasks and not now["waiting"] + now["in flight"] + now["staged"]

        wait_until(parked, 180, what, 0.2)
        self.report.expect(now_usec() < self.first_eta, f"{what}: the first task was due before: increase the time ahead")

    def park(self):
        self.node.start()
        before, begun = self.memory("before"), time.monotonic()
        self.fill()
        self.wait_parked("all are parked")
        self.report.add("parked a second, with the sending", int(self.options.tasks / (time.monotonic() - begun)))
        after = self.memory("with all of them parked")
        self.report.expect(after < before + 16, f"the worker grew from {before:.1f} to {after:.1f} MiB")

    def restart(self):
        self.node.stop()
        self.node.start()
        self.wait_parked("all are there after a restart of the worker")
        self.memory("after its restart")
        self.server.stop()
        self.server.start()
        self.wait_parked("all are there after a restart of Redis")
        self.memory("after a restart of Redis")
        time.sleep(2)  # what "everysec" may lose is not the question
        self.server.stop(signal.SIGKILL)
        self.node.kill()
        self.server.start()
        self.wait_parked("all are there after both were killed")
        self.node.start()
        self.memory("after both were killed")

    def run(self):
        """Waits until they are due and have run."""
        redis, begun = self.server.client(), None
        say(f"the first is due in {(self.first_eta - now_usec()) / 1e6:.0f} s")
        wait_until(lambda: counts(redis).get("done", 0) > 0, PARK_AHEAD_SECONDS + 60, "the first has run", 0.01)
        begun = time.monotonic()
        wait_until(lambda: counts(redis).get("done", 0) >= self.options.tasks, 900, "all have run", 0.5)
        self.report.add("from the first to the last end", f"{time.monotonic() - begun:.1f} s")
        self.memory("after all have run")
        runs = self.calls.executions()
        starts = sum(len(started) for started, _ in runs.values())
        lost = sum(not runs[number][1] for number in range(self.options.tasks))
        self.report.add("executions", starts)
        self.report.add("never executed", lost)
        self.report.expect(starts == self.options.tasks and not lost, "not each of them ran once")


def run_parked(options, folder, report):
    report.add("tasks", options.tasks)
    parked = Parked(options, folder, report)
    try:
        parked.server.start()
        parked.park()
        parked.restart()
        parked.run()
    finally:
        parked.node.stop()
        parked.server.stop()


def main():
    options = parser(__doc__)
    options.add_argument("--tasks", type=int, help="so many (default 10000; with --park a million)")
    options.add_argument("--rate", type=int, default=500, metavar="N", help="sent a second (default 500)")
    options.add_argument("--nodes", type=int, default=3, metavar="N", help="workers (default 3)")
    options.add_argument("--lease", type=float, default=2, metavar="SECONDS", help="of each node (default 2)")
    options.add_argument("--kills", type=float, default=0, metavar="SECONDS", help="a node is killed about so often")
    options.add_argument("--park", action="store_true", help="a million parked tasks instead")
    options = options.parse_args()
    options.tasks = options.tasks or (400 if options.smoke else 10**6 if options.park else 10**4)
    report = Report("delayed tasks, parked" if options.park else "delayed tasks")
    with work_folder(options, "celeriac-etas-") as folder:
        (run_parked if options.park else run_on_time)(options, folder, report)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
