#!/usr/bin/python3
"""Revocations: what is revoked does not run, and what is not revoked is never hit.

    revokes.py              both parts
    revokes.py --queued N   so many waiting tasks are revoked while every worker is down; then three workers start
    revokes.py --races N    so many running tasks of 0 to 20 ms are terminated at moments between their sending and a
                            little after their end, each beside another one that nobody revokes

A wrong kill is a task that was not revoked and has no SUCCESS, ran more than once, or ran to its end more or less than
once. A revoked task must have run once and wholly (it ended first), or be REVOKED and have begun once at most.
"""
import collections
import heapq
import json
import os
import subprocess
import sys
import time

from common import Node, RedisServer, chance, counts, is_over, parser, say, wait_until, work_folder
from marks import Calls, Report, documents
from support.servers import CELERIAC, revoke


def start_nodes(server, folder, count, prefix, concurrency=2):
    nodes = [Node(server, folder, f"{prefix}{n}", modules=("marks",), level="warning", concurrency=concurrency)
             for n in range(count)]
    for node in nodes:
        node.start()
    return nodes


# --- what waits ---------------------------------------------------------------------------------


def revoke_all(server, ids):
    done = subprocess.run([CELERIAC, "revoke", "--stdin", "--json", "--timeout", "60s"], input="\n".join(ids), check=True,
                          capture_output=True, text=True, env={**os.environ, "CELERIAC_BROKER_URL": server.url})
    return json.loads(done.stdout)[0]["revoked"]


def run_queued(options, server, folder, report):
    """One task in a hundred is left alone, and must run."""
    redis, calls = server.client(), Calls(folder, options.seed, "queued")
    numbers = range(options.queued + options.queued // 100)
    revoked = set(chance(options, "queued").sample(numbers, options.queued))
    calls.push(redis, [calls.make(number) for number in numbers])
    begun = time.monotonic()
    told = revoke_all(server, [calls.id(number) for number in revoked])
    report.add("revoked while every worker was down", told)
    report.add("revoked a second", int(told / (time.monotonic() - begun)))
    begun = time.monotonic()
    nodes = start_nodes(server, folder, 3, "queued")
    try:
        wait_until(lambda: is_over(redis), 300, "nothing is left", 0.05)
        report.add("until three workers had seen them all", f"{time.monotonic() - begun:.1f} s")
    finally:
        for node in nodes:
            node.stop()
    runs = calls.executions()
    states = {number: document and document["status"]
              for number, document in zip(numbers, documents(redis, [calls.id(number) for number in numbers]))}
    executed = [number for number in revoked if number in runs]
    left = [number for number in numbers if number not in revoked]
    report.add("of them executed", len(executed))
    report.add("of them REVOKED", sum(states[number] == "REVOKED" for number in revoked))
    report.add("others, and executed once", sum(len(runs[number][1]) == 1 for number in left))
    report.expect(not executed, f"revoked and executed: {executed[:10]}")
    report.expect(all(states[number] == "REVOKED" for number in revoked), "not all of them are REVOKED")
    report.expect(all(states[number] == "SUCCESS" and len(runs[number][1]) == 1 for number in left),
                  "one that was not revoked was not executed once")
    has = counts(redis)
    report.expect((has.get("revoked"), has.get("done")) == (options.queued, len(left)), f"counted: {has}")


# --- what runs ----------------------------------------------------------------------------------


class Race:
    """Sends pairs, of which one is terminated at its own moment; few at a time, so that most are met running."""

    AT_ONCE = 6  # calls that have not ended; the workers have four processes

    def __init__(self, options, redis, calls):
        self.redis, self.calls, self.count = redis, calls, options.races
        self.random = chance(options, "races")
        self.due = []  # (moment, number of the victim)

    def run(self):
        """Victims have even numbers, spared ones odd ones."""
        for pair in range(self.count):
            while 2 * pair - ended(self.redis) > self.AT_ONCE - 2:
                self.terminate_due()
            both = [self.calls.make(number, ms=self.random.randint(0, 20)) for number in (2 * pair, 2 * pair + 1)]
            self.random.shuffle(both)
            self.calls.push(self.redis, both)
            heapq.heappush(self.due, (time.monotonic() + self.random.uniform(0, 0.03), 2 * pair))
            if pair % 1000 == 999:
                say(f"{pair + 1} races")
        while self.due:
            self.terminate_due()

    def terminate_due(self):
        time.sleep(0.0005)
        while self.due and self.due[0][0] <= time.monotonic():
            revoke(self.redis, self.calls.id(heapq.heappop(self.due)[1]), "TERM")


def ended(redis):
    return sum(int(count or 0) for count in redis.hmget("celeriac:counts:{celery}", "done", "revoked"))


def is_sound_victim(status, starts, ends):
    if status == "SUCCESS":
        return len(starts) == len(ends) == 1
    return status == "REVOKED" and len(starts) <= 1


def judge_races(options, redis, calls, report):
    runs, kinds, wrong = calls.executions(), collections.Counter(), []
    numbers = range(2 * options.races)
    for number, document in zip(numbers, documents(redis, [calls.id(number) for number in numbers])):
        status, (starts, ends) = document and document["status"], runs[number]
        if number % 2:  # spared
            if status != "SUCCESS" or len(starts) != 1 or len(ends) != 1:
                wrong.append((number, status, starts, ends))
            continue
        report.expect(is_sound_victim(status, starts, ends), f"victim {number}: {status} {starts} {ends}")
        kinds["SUCCESS" if status == "SUCCESS" else "begun" if starts else "not begun"] += 1
    report.add("races", options.races)
    report.add("victims that ran wholly first", kinds["SUCCESS"])
    report.add("victims REVOKED while they ran", kinds["begun"])
    report.add("victims REVOKED before they ran", kinds["not begun"])
    report.add("wrong kills", len(wrong))
    report.expect(not wrong, f"hit, and not meant: {wrong[:5]}")
    has = counts(redis)
    total = has.get("done", 0), has.get("revoked", 0)
    report.expect(total == (options.races + kinds["SUCCESS"], kinds["begun"] + kinds["not begun"]), f"counted: {has}")


def run_races(options, server, folder, report):
    redis, calls = server.client(), Calls(folder, options.seed, "races")
    nodes = start_nodes(server, folder, 2, "races")
    try:
        begun = time.monotonic()
        Race(options, redis, calls).run()
        wait_until(lambda: is_over(redis), 60, "nothing is left", 0.02)
        seconds = time.monotonic() - begun
    finally:
        for node in nodes:
            node.stop()
    judge_races(options, redis, calls, report)
    report.add("races a second", int(options.races / seconds))


def main():
    options = parser(__doc__)
    options.add_argument("--queued", type=int, metavar="N", help="only the first part (default 100000)")
    options.add_argument("--races", type=int, metavar="N", help="only the second part (default 10000)")
    options = options.parse_args()
    if options.queued is None and options.races is None:
        options.queued, options.races = (2000, 200) if options.smoke else (100000, 10000)
    report = Report("revocations")
    with work_folder(options, "celeriac-revokes-") as folder:
        for part, is_wanted in ((run_queued, options.queued), (run_races, options.races)):
            if is_wanted:
                with RedisServer(folder) as server:
                    part(options, server, folder, report)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
