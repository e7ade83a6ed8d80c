#!/usr/bin/python3
"""Two workers of Celeriac and two of Celery on one queue, killed at random: who loses what?

    mixed.py                     Celery acknowledges before a task runs, as it does by default
    mixed.py --acks late         after it
    mixed.py --spare celery      only Celeriac's workers are killed: then nothing may be lost, by nobody

Workers of both kinds take from the same list. Every `--kills` seconds one is killed as a whole (Celery's with all of its
processes) and started again. In the end each task has run to its end, or stands in `unacked`, where Celery keeps what its
workers have taken, or is nowhere. What Celeriac's workers took is counted by the scripts that take and end it: claimed =
returned to the queue + done, when nothing is in flight. So what has not run was last taken by Celery; and, in the logs,
by no worker of Celeriac alone.

What is in `unacked` comes back when the visibility timeout is over (an hour by default, here `--visibility-timeout`
seconds). The table shows what is where when all is still for the first time, and later, after that timeout. What is lost
then is lost by Celery: it was acknowledged before it ran, or taken by BRPOP and not yet written into `unacked`.
"""
import os
import signal
import sys
import time

from common import Background, Node, RedisServer, chance, counts, parser, places, say, wait_until, work_folder
from marks import Calls, Report
from support.servers import Daemon

RESTORE_SECONDS = 150  # Celery looks for what is to be restored every hundred seconds
HERE = os.path.dirname(os.path.abspath(__file__))


class Python:
    """Celery's prefork worker; killed with its processes."""

    def __init__(self, server, folder, name, options):
        environment = {"CELERY_BROKER_URL": server.url, "CELERY_RESULT_BACKEND": server.url, "CHAOS_ACKS": options.acks,
                       "CHAOS_VISIBILITY_TIMEOUT": str(options.visibility_timeout)}
        self.name = name
        self.daemon = Daemon(["/usr/bin/python3", "-B", "-m", "celery", "-A", "python_marks", "--workdir", HERE, "worker",
                              "-c", "2", "-l", "info", "-n", name + "@chaos", "--without-mingle", "--without-gossip"],
                             folder, name, environment, ready="ready.")

    def start(self):
        self.daemon.start(60)
        return self

    def kill(self):
        os.killpg(self.daemon.pid, signal.SIGKILL)
        self.daemon.stop()

    def stop(self):
        self.daemon.stop()


class Killer:
    """Kills one of each kind in turn, and starts it again."""

    def __init__(self, kinds, options):
        self.kinds = {kind: workers for kind, workers in kinds.items() if kind.lower() != options.spare}
        self.pause, self.random = options.kills, chance(options, "kills")
        self.kills, self.stopped = {kind: 0 for kind in kinds}, False
        self.work = Background(self.run)

    def run(self):
        while not self.stopped:
            for kind, workers in self.kinds.items():
                time.sleep(self.pause * self.random.uniform(0.5, 1.5))
                if self.stopped:
                    return
                victim = self.random.choice(workers)
                victim.kill()
                self.kills[kind] += 1
                victim.start()

    def stop(self):
        self.stopped = True
        self.work.join()


# --- sending ------------------------------------------------------------------------------------


def send(options, redis, calls):
    """Keeps some calls waiting until `tasks` have been sent, so that both kinds always find one."""
    random, number = chance(options, "tasks"), 0
    while number < options.tasks:
        room = min(200 - redis.llen("celery"), options.tasks - number)
        if room > 0:
            calls.push(redis, [calls.make(n, ms=random.randint(0, 20)) for n in range(number, number + room)])
            number += room
            if number // 5000 > (number - room) // 5000:
                say(f"{number} sent")
        time.sleep(0.01)


def held_by_c(redis):
    now = places(redis)
    return now["staged"] + now["in flight"] + now["delayed"]


def settle(redis, calls):
    """Waits until nothing waits, Celeriac holds nothing, and nobody has run anything for some seconds."""
    def size():
        return os.path.getsize(calls.path)

    def is_still():
        if redis.llen("celery") + held_by_c(redis):
            return False
        before = size()
        time.sleep(3)
        return size() == before and not redis.llen("celery") + held_by_c(redis)

    wait_until(is_still, 120, "the queue is empty and still", 0.1)


# --- the verdict --------------------------------------------------------------------------------


class Verdict:
    """Where the tasks are at one moment."""

    def __init__(self, options, redis, calls):
        self.runs, has = calls.executions(), counts(redis)
        self.missing = {number for number in range(options.tasks) if not self.runs[number][1]}
        unacked = b"\n".join(redis.hvals("unacked")).decode()
        self.unacked = {number for number in self.missing if calls.id(number) in unacked}
        self.unaccounted = has.get("claimed", 0) - has.get("returned", 0) - has.get("done", 0) - held_by_c(redis)
        self.done, self.returned = has.get("done", 0), has.get("returned", 0)
        self.ended_by = {by: sum(any(mark.by == by for mark in ends) for _, ends in self.runs.values()) for by in "cp"}
        self.again = {by: sum(mark.by == by for starts, _ in self.runs.values() for mark in starts[1:]) for by in "cp"}


def known_to_celeriac_alone(calls, missing, kinds):
    """Those of `missing` that stand in a log of Celeriac's and in none of Celery's."""
    logs = {kind: "".join(worker.daemon.text() for worker in workers) for kind, workers in kinds.items()}
    return [number for number in missing if calls.id(number) in logs["Celeriac"] and calls.id(number) not in logs["Celery"]]


def judge(report, options, before, after):
    report.add("tasks", options.tasks)
    for when, one in (("still", before), ("later", after)):
        report.add(f"{when}: run by Celeriac", one.ended_by["c"])
        report.add(f"{when}: run by Celery", one.ended_by["p"])
        report.add(f"{when}: taken by Celeriac, neither done nor given back", one.unaccounted)
        report.add(f"{when}: taken by Celery, not run, in unacked", len(one.unacked))
        report.add(f"{when}: taken by Celery, not run, nowhere", len(one.missing - one.unacked))
        report.expect(one.unaccounted == 0, f"{when}: Celeriac's claims do not add up")
        report.expect(one.done <= one.ended_by["c"], f"{when}: counted as done by Celeriac, and not run by it")
    report.add("brought back to the queue by Celeriac", after.returned)
    report.add("begun again by Celeriac", after.again["c"])
    report.add("begun again by Celery", after.again["p"])


def run(options, folder, report):
    calls = Calls(folder, options.seed)
    with RedisServer(folder) as server:
        redis = server.client()
        kinds = {"Celeriac": [Node(server, folder, f"c{n}", lease="2s", modules=("marks",)) for n in range(2)],
                 "Celery": [Python(server, folder, f"p{n}", options) for n in range(2)]}
        workers = [worker for kind in kinds.values() for worker in kind]
        try:
            for worker in workers:
                worker.start()
            killer = Killer(kinds, options)
            send(options, redis, calls)
            killer.stop()
            settle(redis, calls)
            before = Verdict(options, redis, calls)
            if before.unacked and not options.smoke:
                say(f"{len(before.unacked)} tasks stand in unacked")
                wait_until(lambda: not Verdict(options, redis, calls).unacked, options.visibility_timeout + RESTORE_SECONDS,
                           "what Celery took comes back", 1)
                settle(redis, calls)
        finally:
            for worker in workers:
                worker.stop()
        for kind, count in killer.kills.items():
            report.add(f"workers of {kind} killed", count)
        after = Verdict(options, redis, calls)
        judge(report, options, before, after)
        alone = known_to_celeriac_alone(calls, before.missing, kinds)
        report.add("not run, and known to Celeriac alone", len(alone))
        report.expect(not alone, f"not run, and known to Celeriac alone: {alone[:10]}")
        report.expect(options.spare != "celery" or not before.missing, "lost, and no worker of Celery was killed")


def main():
    options = parser(__doc__)
    options.add_argument("--tasks", type=int, metavar="N", help="of 0 to 20 ms (default 20000)")
    options.add_argument("--kills", type=float, metavar="SECONDS", help="between two kills (default 2)")
    options.add_argument("--acks", choices=("early", "late"), default="early", help="Celery's (default early)")
    options.add_argument("--spare", choices=("celery", "celeriac"), help="these are not killed")
    options.add_argument("--visibility-timeout", type=int, default=20, metavar="SECONDS", help="Celery's (default 20)")
    options = options.parse_args()
    options.tasks = options.tasks or (3000 if options.smoke else 20000)
    options.kills = options.kills or (0.8 if options.smoke else 2)
    report = Report(f"Celeriac and Celery ({options.acks} acknowledgement) on one queue")
    with work_folder(options, "celeriac-mixed-") as folder:
        run(options, folder, report)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
