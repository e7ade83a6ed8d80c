#!/usr/bin/python3
"""Interrupts Redis 500 times in a row; every worker must consume again within 5 s of Redis being back.

kill        SIGKILL, and started again after up to a second (appendfsync always)
pause       SIGSTOP for up to six seconds, twice the lease
cut         every connection of every worker ends; none is accepted for up to a second
half-open   nothing passes and nothing is closed for up to four seconds; then new connections are served
failover    in a fleet of its own with sentinels, beside the other: SENTINEL FAILOVER, master killed, master hung

Each worker has a queue of its own. When Redis is back each queue gets a call; the recovery is the time until the
last of them has its result. Half of the times the workers have work when the interruption comes, else they wait.
"""
import signal
import sys
import time

import redis as redis_py

from common import (Background, Journal, Node, Table, chance, discrepancies, is_over, message, parser, say, wait_until,
                    work_folder)
from redisplace import Replicated, Single

WITHIN = 5.0
WORKERS = ("one", "two", "three")
LOAD = 20  # calls for each worker before an interruption that shall meet it at work


class Fleet:
    """Workers that each serve the queue of their own name."""

    def __init__(self, options, folder, name, place):
        self.place, self.journal = place, Journal(folder, name)
        self.chance = chance(options, name)
        self.ids = {queue: [] for queue in WORKERS}
        self.nodes = [Node(place.front(queue), folder, f"{name}-{queue}", queues=queue, lease=options.lease)
                      for queue in WORKERS]

    def start(self):
        for node in self.nodes:
            node.start()

    def stop(self):
        return [f"{node.name} ended with {status}" for node in self.nodes if (status := node.stop())]

    def push(self, queue, count, ms):
        """Calls that are safe with Redis, with its replica too where there is one."""
        calls = [message("chaos.mark", self.journal.path, "ok", self.chance.randint(0, ms), queue=queue)
                 for _ in range(count)]
        with self.place.client() as client:
            client.lpush(queue, *[text for _, text in calls])
            if isinstance(self.place, Replicated) and not client.wait(1, 5000):
                raise AssertionError("the replica does not confirm")
        self.ids[queue] += [id for id, _ in calls]
        return [id for id, _ in calls]

    def has_results(self, ids):
        try:
            with self.place.client() as client:
                return all(client.mget(["celery-task-meta-" + id for id in ids]))
        except (redis_py.exceptions.RedisError, OSError):
            return False

    def interrupt(self, harm):
        """One interruption; returns the seconds until every worker had done a call."""
        if self.chance.random() < 0.5:
            for queue in WORKERS:
                self.push(queue, LOAD, 20)
            time.sleep(self.chance.uniform(0, 0.1))
        else:
            time.sleep(self.chance.uniform(0, 0.3))
        back = harm(self)
        probes = [id for queue in WORKERS for id in self.push(queue, 1, 0)]
        wait_until(lambda: self.has_results(probes), 60, "every worker consumes again", 0.01)
        return time.monotonic() - back

    def audit(self):
        """(lost, doubled, findings) after everything."""
        findings, runs = [], self.journal.runs()
        with self.place.client() as client:
            try:
                wait_until(lambda: all(is_over(client, queue) for queue in WORKERS), 60, "all calls are over", 0.2)
            except AssertionError as error:
                findings.append(str(error))
            runs = self.journal.runs()
            for queue in WORKERS:
                findings += discrepancies(client, len(self.ids[queue]), queue)
        lost = sum((id, 0) not in runs for ids in self.ids.values() for id in ids)
        return lost, sum(runs.values()) - len(runs), findings


# --- the interruptions --------------------------------------------------------------------------
# Each returns the moment at which Redis was back.


def kill(fleet):
    server = fleet.place.server
    server.stop(signal.SIGKILL)
    time.sleep(fleet.chance.uniform(0, 1))
    server.start()
    return answers(fleet)


def answers(fleet):
    def ask():
        try:
            with fleet.place.client() as client:
                return client.ping()  # an error while it reads its file
        except (redis_py.exceptions.RedisError, OSError):
            return False

    wait_until(ask, 20, "Redis answers", 0.005)
    return time.monotonic()


def pause(fleet):
    process = fleet.place.server.process
    process.send_signal(signal.SIGSTOP)
    time.sleep(fleet.chance.uniform(0.1, 6))
    process.send_signal(signal.SIGCONT)
    return time.monotonic()


def cut(fleet):
    for proxy in fleet.place.proxies.values():
        proxy.cut()
    time.sleep(fleet.chance.uniform(0, 1))
    return restore(fleet)


def half_open(fleet):
    for proxy in fleet.place.proxies.values():
        proxy.black_hole()
    time.sleep(fleet.chance.uniform(0.1, 4))
    return restore(fleet)


def restore(fleet):
    for proxy in fleet.place.proxies.values():
        proxy.restore()
    return time.monotonic()


def failover(harm, repair):
    def interruption(fleet):
        fleet.place.wait_for_replica()
        old = fleet.place.master()
        harm(fleet, old)
        fleet.place.wait_for_other(old)
        back = time.monotonic()
        repair(old)
        fleet.place.wait_for_replica()  # only then is a call safe: the probe waits for that, too
        return max(back, time.monotonic())

    return interruption


SINGLE = {"kill": kill, "pause": pause, "cut": cut, "half-open": half_open}
SENTINEL = {
    "failover asked for": failover(lambda fleet, _: fleet.place.ask_for_failover(), lambda _: None),
    "failover, master killed": failover(lambda _, old: old.stop(signal.SIGKILL), lambda old: old.start()),
    "failover, master hangs": failover(lambda _, old: old.process.send_signal(signal.SIGSTOP),
                                       lambda old: old.process.send_signal(signal.SIGCONT)),
}


def play(options, folder, name, place, kinds, count):
    """`count` interruptions, each kind as often as the others; returns rows and findings."""
    rows, findings = [], []
    try:
        fleet = Fleet(options, folder, name, place)
        try:
            fleet.start()
            for number in range(count):
                kind = list(kinds)[number % len(kinds)]
                seconds = fleet.interrupt(kinds[kind])
                rows.append((kind, seconds))
                if seconds > WITHIN:
                    findings.append(f"{kind}, number {number + 1}: {seconds:.2f} s, at {time.strftime('%H:%M:%S')}")
                    say("LATE " + findings[-1])
                findings += [f"{node.name} is gone after {kind}" for node in fleet.nodes if not node.is_alive()]
                if (number + 1) % 20 == 0:
                    say(f"{name}: {number + 1} of {count}")
            lost, doubled, wrong = fleet.audit()
        finally:
            findings += fleet.stop()
    finally:
        place.stop()
    return rows, lost, doubled, findings + [f"{name}: {text}" for text in wrong]


def main():
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=500, help="how many (default 500)")
    options.add_argument("--failovers", type=int, help="of them through Sentinel (default: a fifth)")
    options.add_argument("--lease", default="15s", help="of the workers (default 15s, as theirs)")
    options.add_argument("--only", help="only these kinds of the first four, comma-separated")
    options = options.parse_args()
    if options.smoke:
        options.count, options.failovers = 8, 0
    failovers = options.count // 5 if options.failovers is None else options.failovers
    with work_folder(options, "celeriac-interruptions-") as folder:
        kinds = {name: kind for name, kind in SINGLE.items() if not options.only or name in options.only.split(",")}
        parts = []
        if options.count > failovers:
            parts.append(Background(play, options, folder, "single", Single(folder), kinds, options.count - failovers))
        if failovers:
            parts.append(Background(play, options, folder, "sentinel", Replicated(folder), SENTINEL, failovers))
        sys.exit(report(options, [part.join() for part in parts]))


def report(options, parts):
    table, findings = Table(f"Interruptions of Redis: three workers each consume again within {WITHIN:.0f} s"), []
    for rows, lost, doubled, wrong in parts:
        for kind, seconds in rows:
            table.add(kind, seconds=seconds)
        table.add("(over all of these)" if rows[0][0] in SINGLE else "(over all failovers)", 0, lost, doubled)
        findings += wrong
    table.note(f"{len(findings)} findings; seed {options.seed}")
    table.notes += findings
    table.print(options)
    return 1 if findings or table.lost() else 0


if __name__ == "__main__":
    main()
