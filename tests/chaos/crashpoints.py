#!/usr/bin/python3
"""Ends a worker after each Redis command of each path in turn, and drops each reply once.

A path is what can become of a message: success, retry, quarantine, a warm stop in its way ... Each path is
run once without a fault, while a proxy names and counts every command that the worker sends. Then it is run
anew for each of these commands and each action:

    kill   Redis runs the command; the supervisor gets SIGKILL before it hears so; another worker is started
    drop   Redis runs the command; the connection is cut instead of the reply
    lose   the connection is cut and Redis never sees the command

Afterwards every message must have come to its end, with the status that it has without a fault; the counts of
the queue must add up; nothing may have run twice that had no right to: after a kill, what was in flight may;
after a drop or a loss, nothing; what acknowledges early, never. A task's own sends exist once for each recorded success.

Not every run sends the same commands: it depends on how fast it is. A point that is not reached is tried again.
"""
import collections
import json
import os
import queue
import signal
import sys
import tempfile
import threading
import time

from common import (Background, Journal, Node, RedisServer, Table, chance, counts, discrepancies, is_over,
                    message, parser, say, wait_until, work_folder)
from integration.worker.calls import READY, iso
from proxy import Fault, Proxy
from support.servers import revoke

LEASE = "2s"
PATIENCE = 25.0  # for everything to be over
LOOK = 0.04      # between two looks


class Killed(Exception):
    """The worker under test is gone: what was to happen to it next does not matter any more."""


Call = collections.namedtuple("Call", "id expected is_early may_double")


class World:
    """The servers of one job, used for one run after the other, and what one run has sent."""

    def __init__(self, folder):
        self.folder = folder
        self.server = RedisServer(self.folder).start()
        self.proxy = Proxy(self.folder, self.server).start()
        self.redis = self.server.client()
        self.journal = Journal(self.folder)

    def close(self):
        self.proxy.stop()
        self.server.stop()

    def begin(self, path, fault):
        self.redis.flushall()
        self.journal.clear()
        self.calls, self.pushed, self.raw = [], 0, []
        self.path, self.fault, self.is_killed = path, fault, False
        self.proxy.watch(fault)
        arguments = [argument.format(proxy=self.proxy.url, server=self.server.url) for argument in path.arguments]
        self.results_in = 1 if path.has_results_elsewhere else 0
        self.node = Node(self.proxy, self.folder, "tested", *arguments, lease=LEASE, concurrency=path.concurrency)
        heirs = [argument.replace(self.proxy.url, self.server.url) for argument in arguments]
        self.heir = Node(self.server, self.folder, "heir", *heirs, lease=LEASE, concurrency=2)

    # what a path does

    def text(self, task="chaos.mark", how="ok", ms=0, expect="SUCCESS", may_double=False, **headers):
        """One call of this run, not sent yet."""
        id, text = message(task, self.journal.path, how, ms, **headers)
        self.calls.append(Call(id, expect, task == "chaos.mark_early", may_double))
        self.pushed += 1
        return text

    def send(self, *arguments, priority=0, **options):
        text = self.text(*arguments, priority=priority, **options)
        self.redis.lpush("celery" if priority < 3 else f"celery\x06\x16{priority}", text)
        return self.calls[-1].id

    def send_raw(self, text):
        self.raw.append(text)
        self.pushed += 1
        self.redis.lpush("celery", text)

    def until(self, condition, seconds=10.0):
        wait_until(lambda: condition() or not self.node.is_alive(), seconds, f"{self.path.name} goes on", LOOK)
        if self.is_killed:
            raise Killed

    def idle(self):
        self.until(lambda: self.proxy.seen["BLMOVE"] >= 4)

    def running(self, id):
        self.until(lambda: any(run == id for run, _ in self.journal.runs()))

    def lease(self):
        """The name of the tested node with its incarnation."""
        self.until(lambda: self.redis.zcard("celeriac:nodes:{celery}"))
        return next(iter(self.redis.zrange("celeriac:nodes:{celery}", 0, 0)), b"nobody").decode()

    def revoke(self, id, signal_name=""):
        revoke(self.redis, id, signal_name)

    def put_in_flight(self, node, tag, text):
        self.redis.hset("celeriac:inflight:{celery}:" + node, tag, text)
        self.redis.hincrby("celeriac:counts:{celery}", "claimed", 1)

    # what has become of it

    def result(self, id):
        with_results = self.results
        text = with_results.get("celery-task-meta-" + id)
        return json.loads(text) if text else {"status": "PENDING", "result": None}

    @property
    def results(self):
        import redis

        if not self.results_in:
            return self.redis
        return redis.Redis(unix_socket_path=self.server.socket, db=self.results_in)

    def has_ended(self, call):
        return (self.result(call.id)["status"] in READY or call.expected is None
                or call.is_early and self.is_killed)

    def has_finished(self):
        return is_over(self.redis) and all(self.has_ended(call) for call in self.calls)


# --- the paths ----------------------------------------------------------------------------------


class Path:
    """What is sent before the worker starts (`before`), and what happens while it runs (`then`)."""

    def __init__(self, name, before=None, then=None, concurrency=2, arguments=(), stops=False,
                 has_results_elsewhere=False):
        self.name, self.before, self.then = name, before, then
        self.concurrency, self.arguments, self.stops = concurrency, arguments, stops
        self.has_results_elsewhere = has_results_elsewhere


def each(*sends):
    """Sends these before the worker starts, and once more to the idle worker."""
    def before(world):
        for send in sends:
            send(world)

    def then(world):
        world.idle()
        before(world)

    return {"before": before, "then": then}


def call(*arguments, **options):
    return lambda world: world.send(*arguments, **options)


def refused(world):
    world.send("tests.nobody_knows", expect=None)


def undecodable(world):
    world.send_raw(b"\xff no message %d" % world.pushed)


def eta(world):
    world.send("chaos.mark", eta=iso(0.5))


def revoked(world):
    text = world.text(expect="REVOKED")
    world.revoke(world.calls[-1].id)
    world.redis.lpush("celery", text)


def terminated(world):
    id = world.send("chaos.mark", "ok", 60000, "REVOKED")
    try:
        world.running(id)
    finally:  # whoever runs it
        world.revoke(id, "TERM")


def once(world):
    """One runs; the other comes again although its success is recorded."""
    world.send("chaos.mark_once")
    text = world.text("chaos.mark_once")
    world.redis.set("celery-task-meta-" + world.calls[-1].id, '{"status": "SUCCESS", "result": null}')
    world.redis.lpush("celery", text)


def stop_with(*signals):
    def then(world):
        first = world.send("chaos.mark", "ok", 700, may_double=signal.SIGQUIT in signals)
        for _ in range(5):
            world.send()
        world.running(first)
        for number in signals:
            world.node.send_signal(number)
        world.until(lambda: False, 15)  # until it is gone

    return then


def idle_stop(world):
    """A stop while the idle wait has just moved something."""
    world.idle()
    world.node.send_signal(signal.SIGTERM)
    for priority in (0, 3, 6, 9):
        world.send(priority=priority)
    world.until(lambda: False, 15)


def dead_node(world):
    """One left calls in flight and staged; one of them was lost too often already, one cannot be read."""
    world.redis.zadd("celeriac:nodes:{celery}", {"gone@chaos:1": 1000})
    for n, priority in enumerate((0, 0, 3, 9)):
        world.put_in_flight("gone@chaos:1", f"{n + 1}.{priority}", world.text(priority=priority))
    world.put_in_flight("gone@chaos:1", "7.0", world.text(expect="FAILURE", celeriac_deliveries=10))
    world.raw.append(b"\xff lost")
    world.pushed += 1
    world.put_in_flight("gone@chaos:1", "8.0", b"\xff lost")
    for step in ("", "\x06\x163"):
        world.redis.lpush("celeriac:staging:{celery}:gone@chaos:1" + step, world.text())


def dead_node_with_much(world):
    """More than is moved at once."""
    world.redis.zadd("celeriac:nodes:{celery}", {"gone@chaos:1": 1000})
    for n in range(150):
        world.put_in_flight("gone@chaos:1", f"{n + 1}.{(0, 3, 6, 9)[n % 4]}", world.text())


def long_task(world):
    world.send("chaos.mark", "ok", 2600)


def forgotten_claim(world):
    node = world.lease()
    world.put_in_flight(node, "999999.0", world.text())


def given_up(world):
    node = world.lease()
    world.running(world.send("chaos.mark", "ok", 1500, may_double=True))
    world.redis.zadd("celeriac:nodes:{celery}", {node: -1})
    world.until(lambda: "The lease was lost" in world.node.text())


PATHS = [
    Path("success", **each(call(), call(priority=3))),
    Path("result ignored", **each(call(ignore_result=True, expect=None))),
    Path("results elsewhere", **each(call(), call(how="send")), has_results_elsewhere=True,
         arguments=("--result-backend", "{proxy}?virtual_host=1")),
    Path("early", **each(call("chaos.mark_early"))),
    Path("started and progress", **each(call("chaos.mark_tracked", "progress"))),
    Path("once", **each(once)),
    Path("eta", **each(eta)),
    Path("retry later", **each(call(how="retry"))),
    Path("retry at once", **each(call(how="now"))),
    Path("failure", **each(call(how="fail", expect="FAILURE"))),
    Path("sends", **each(call(how="send"))),
    Path("unregistered", **each(refused)),
    Path("undecodable", **each(undecodable)),
    Path("expired", **each(call(expires=iso(-60), expect="REVOKED"))),
    Path("revoked", **each(revoked)),
    Path("terminated", then=terminated),
    Path("child dies", **each(call(how="crash", expect="FAILURE", may_double=True))),
    Path("warm stop", then=stop_with(signal.SIGTERM), concurrency=1, stops=True),
    Path("cold stop", then=stop_with(signal.SIGQUIT), concurrency=1, stops=True),
    Path("idle stop", then=idle_stop, stops=True),
    Path("rescue", before=dead_node),
    Path("rescue in batches", before=dead_node_with_much),
    Path("renewals", before=long_task),
    Path("forgotten claim", then=forgotten_claim),
    Path("lease lost", then=given_up),
]


# --- one run ------------------------------------------------------------------------------------

Point = collections.namedtuple("Point", "path name ordinal action")
Verdict = collections.namedtuple("Verdict", "point reached lost doubled seconds faults")


def fault_of(world, point):
    def kill():
        wait_until(lambda: world.node.daemon.process, 5, "the worker is started")
        world.is_killed = True  # before anybody can see it dead
        os.kill(world.node.pid, signal.SIGKILL)

    if not point.action:
        return None
    return Fault(point.name, point.ordinal, kill if point.action == "kill" else None,
                 "sent" if point.action == "lose" else "replied")


def drive(world, path):
    """Until everything is over, or the worker is not there any more; then stops it. It may be killed by that, too."""
    try:
        world.node.launch()
        if path.then:
            path.then(world)
        world.until(world.has_finished, PATIENCE)
        world.over_at = time.monotonic()
        if not path.stops and not world.node.is_alive():
            return [f"the worker ended by itself: {world.node.text()[-500:]}"]
    except Killed:
        pass
    status = world.node.stop()
    return [f"the worker ended with {status}"] if status and not world.is_killed and not path.stops else []


def inherit(world):
    """Another worker does what is left."""
    world.heir.start()
    wait_until(world.has_finished, PATIENCE, "the heir has done everything", LOOK)
    world.over_at = time.monotonic()


def run(world, point):
    """One path with one fault (or none), from an empty Redis to the audit."""
    path, faults, seconds = point.path, [], None
    fault = fault_of(world, point)
    world.begin(path, fault)
    try:
        if path.before:
            path.before(world)
        faults += drive(world, path)
        if path.stops or world.is_killed:
            inherit(world)
        if fault and fault.at:
            seconds = max(0.0, world.over_at - fault.at)  # negative: struck by the stop
    except AssertionError as error:
        faults.append(f"{error}; left: {[c.id for c in world.calls if not world.has_ended(c)]}, counts "
                      f"{counts(world.redis)}, keys {world.redis.keys('celeriac:*')}")
        world.node.stop()
    status = world.heir.stop()
    if status:
        faults.append(f"the heir ended with {status}")
    lost, doubled = audit(world, faults)
    if faults:
        save(world, point)
    return Verdict(point, not fault or bool(fault.at), lost, doubled, seconds, faults)


def save(world, point):
    """The logs of a run that went wrong, for whoever looks into it."""
    for node in (world.node, world.heir):
        source = node.daemon.log_path
        place = f"{point.path.name}-{point.action}-{point.name}-{point.ordinal}".replace(" ", "_")
        if os.path.exists(source):
            os.replace(source, f"{source[:-4]}-{place}.log")


# --- the audit ----------------------------------------------------------------------------------


def audit(world, faults):
    """(lost, doubled) of one run; what is wrong is added to `faults`."""
    lost = 0
    runs = world.journal.runs()
    dead = [fields for _, fields in world.redis.xrange("celeriac:dead:{celery}")]
    dead_ids = [fields[b"task_id"].decode() for fields in dead]
    sent_by_tasks = []
    for call in world.calls:
        result = world.result(call.id)
        if call.expected is None:
            if (call.id, 0) not in runs and call.id not in dead_ids:
                lost += 1
                faults.append(f"{call.id} neither ran nor is it in quarantine")
        elif call.is_early and world.is_killed:
            pass  # at most once
        elif result["status"] != call.expected:
            lost += 1
            faults.append(f"{call.id} is {result}, expected {call.expected}")
        if result["status"] == "SUCCESS" and isinstance(result["result"], str):
            sent_by_tasks.append(result["result"])
    for text in world.raw:
        if [fields[b"message"] for fields in dead].count(text) != 1:
            lost += 1
            faults.append(f"{text} is not in quarantine once")
    lost += audit_sends(world, runs, sent_by_tasks, faults)
    faults += discrepancies(world.redis, world.pushed)
    return lost, audit_doubles(world, runs, faults)


def audit_sends(world, runs, sent_by_tasks, faults):
    """What tasks sent exists if and only if its sender's success is recorded."""
    ours = {call.id for call in world.calls}
    others = {id for id, _ in runs} - ours
    if world.path.has_results_elsewhere and world.is_killed:  # the first run's result may stand, with the second's sends
        if len(others) != len(sent_by_tasks):
            faults.append(f"{len(sent_by_tasks)} recorded tasks sent, but ran {others}")
        return max(0, len(sent_by_tasks) - len(others))
    missing = [id for id in sent_by_tasks if id not in others or world.result(id)["status"] != "SUCCESS"]
    if missing or others - set(sent_by_tasks):
        faults.append(f"sent by recorded tasks {sent_by_tasks}, but ran {others}")
    return len(missing)


def audit_doubles(world, runs, faults):
    """How often something ran again because of the fault."""
    doubled = 0
    calls = {call.id: call for call in world.calls}
    for (id, retries), times in runs.items():
        call = calls.get(id)
        again = times - (2 if call and call.may_double else 1)
        if again <= 0:
            continue
        doubled += again
        if not world.is_killed or call and call.is_early:
            faults.append(f"{id} ran {times} times in attempt {retries}")
    return doubled


# --- all of them --------------------------------------------------------------------------------


def work(options, points, each_verdict):
    """Runs `points` in several jobs side by side: most of their time they wait."""
    waiting = queue.SimpleQueue()
    for point in points:
        waiting.put(point)
    lock = threading.Lock()

    def job(number):
        world = World(tempfile.mkdtemp(prefix=f"job{number}-", dir=options.folder))
        try:
            while True:
                try:
                    point = waiting.get_nowait()
                except queue.Empty:
                    return
                verdict = run(world, point)
                with lock:
                    each_verdict(verdict, world)
        finally:
            world.close()

    jobs = [Background(job, number) for number in range(min(options.jobs, len(points)))]
    for each_job in jobs:
        each_job.join()


def enumerate_points(options, paths):
    """All commands of all paths: {path: {name: times}}, from runs without a fault."""
    found, wrong = {}, []

    def note(verdict, world):
        found[verdict.point.path.name] = dict(world.proxy.seen)
        wrong.extend(f"{verdict.point.path.name}: {fault}" for fault in verdict.faults)

    work(options, [Point(path, None, 0, None) for path in paths], note)
    if wrong:
        sys.exit("without any fault:\n" + "\n".join(wrong))
    points = []
    for path in paths:
        for name, times in sorted(found[path.name].items()):
            points += [Point(path, name, ordinal, action) for ordinal in range(1, times + 1)
                       for action in options.actions.split(",")]
    return points


def main():
    options = parser(__doc__)
    options.add_argument("--paths", help="only these, by name, comma-separated")
    options.add_argument("--actions", default="kill,drop,lose", help="some of them, comma-separated (default: all)")
    options.add_argument("--commands", help="only these commands, comma-separated")
    options.add_argument("--sample", type=int, help="only so many points, chosen by the seed")
    options.add_argument("--jobs", type=int, default=8, help="runs side by side (default 8)")
    options.add_argument("--again", type=int, default=3, help="how often a point that was not reached is tried again")
    options.add_argument("--list", action="store_true", help="print the points and end")
    options = options.parse_args()
    paths = [path for path in PATHS if not options.paths or path.name in options.paths.split(",")]
    if options.smoke:
        options.sample, options.again = options.sample or 16, 0
        paths = chance(options, "paths").sample(paths, min(8, len(paths)))
    with work_folder(options, "celeriac-crashpoints-") as options.folder:
        sys.exit(walk(options, paths))


def walk(options, paths):
    """All points, or a sample of them; the exit status."""
    points = enumerate_points(options, paths)
    if options.commands:
        points = [point for point in points if point.name in options.commands.split(",")]
    if options.sample:
        points = chance(options, "points").sample(points, min(options.sample, len(points)))
    say(f"{len(points)} points on {len(paths)} paths")
    if options.list:
        for point in points:
            print(f"{point.path.name}: {point.action} at {point.name} {point.ordinal}")
        return 0
    table, wrong, missed = Table("Crash points: each command of each path"), [], []
    for path in paths:
        for action in options.actions.split(","):
            table.add(f"{path.name}: {action}", 0)

    def note(verdict, _):
        point = verdict.point
        if verdict.reached:
            table.add(f"{point.path.name}: {point.action}", 1, verdict.lost, verdict.doubled, verdict.seconds)
        else:
            missed.append(point)
        for fault in verdict.faults:
            wrong.append(f"{point.path.name}: {point.action} at {point.name} {point.ordinal}: {fault}")
            say("WRONG " + wrong[-1])

    work(options, points, note)
    for _ in range(options.again):
        again, missed = missed, []
        work(options, again, note)
    table.note(f"{len(points)} points; {len(missed)} were not reached again; {len(wrong)} findings; seed {options.seed}")
    table.notes += wrong
    table.print(options)
    return 1 if wrong or table.lost() else 0


if __name__ == "__main__":
    main()
