#!/usr/bin/python3
"""Three nodes work on many short tasks while something breaks every 1 to 3 seconds.

Each task waits 0 to 20 ms and inserts a row into PostgreSQL. A number without a row is lost, one with two was
executed twice. Redis syncs every write (appendfsync always); each node reaches it through a proxy of its own.
With --sentinel two Redis and three sentinels take that place, and it is the master that breaks.

What was killed or stopped is started again, as a service manager does; nobody restarts anything else. The
recovery is the time from the end of a fault until tasks are completed again: by the node that it hit, or by
every node when it hit a server. A second execution belongs to the fault nearest to the first one.
"""
import base64
import itertools
import json
import os
import signal
import sys
import time

import redis as redis_py

from common import (Node, PostgresServer, Questions, Table, chance, dead_ids, discrepancies, is_over, message, parser, places, say,
                    wait_until, work_folder)
from redisplace import Replicated, Single
from support.servers import thaw

LEASE = 3.0
RECOVERY = 30.0   # a fault that is not recovered from within so many seconds is a finding
START_AGAIN = 0.2  # seconds until a service manager starts what has ended
BATCH = 500


class Event:
    """One fault: what it was, which nodes it hit, and when (by the clock on the wall, as in the table `effect`)."""

    def __init__(self, name, nodes):
        self.name, self.nodes, self.begin, self.end = name, nodes, time.time(), None
        self.held = []        # numbers that a killed node held
        self.backends = set() # what these connections do after the end is no recovery: their process is given up


# --- the servers --------------------------------------------------------------------------------


class Effects(Questions):
    """The table of executions."""

    def __init__(self, server):
        super().__init__(server)
        self.query("create table effect (n bigint, node text, at timestamptz, backend int default pg_backend_pid()); "
                   "create index on effect (node, at)", False)

    def first_after(self, node, event):
        """When `node` completed something again after `event` (wall clock), or None."""
        [(at,)] = self.query("select extract(epoch from min(at)) from effect where node = '%s@chaos' and "
                             "at > to_timestamp(%.6f) and backend != all('{%s}')"
                             % (node, event.end, ",".join(map(str, event.backends))))
        return float(at) if at is not None else None

    def backends(self, node, since):
        return {backend for backend, in self.query(
            "select distinct backend from effect where node = '%s@chaos' and at > to_timestamp(%.6f)" % (node, since))}

    def rows(self):
        """(n, node, at) in the order of time."""
        return [(n, node.split("@")[0], float(at)) for n, node, at in
                self.query("select n, node, extract(epoch from at) from effect order by at")]


class World:
    def __init__(self, options, folder, place):
        self.options, self.place = options, place
        self.postgres = PostgresServer(folder, options={"synchronous_commit": "on"}).start()
        self.effects = Effects(self.postgres)
        self.nodes = {}
        for name in ("one", "two", "three"):
            self.nodes[name] = Node(place.front(name), folder, name, lease=f"{LEASE:.0f}s",
                                    concurrency=options.concurrency, modules=("chaos",), postgres=self.postgres,
                                    level="warning")
        self.chance = chance(options, "faults")
        self.findings = []

    def start(self):
        for node in self.nodes.values():
            node.start()

    def stop(self):
        for node in self.nodes.values():
            status = node.stop()
            if status:
                self.findings.append(f"{node.name} ended with {status}")
        self.postgres.stop()

    def ask(self, question, seconds=30.0):
        """What Redis answers to `question(client)`, when it is there."""
        def answer():
            try:
                with self.place.client() as client:
                    return (question(client),)
            except (redis_py.exceptions.RedisError, OSError):
                return None

        return wait_until(answer, seconds, "Redis answers", 0.05)[0]

    def any_node(self):
        return self.chance.choice(list(self.nodes.values()))

    def start_again(self, node, event):
        time.sleep(START_AGAIN)
        event.end = time.time()
        node.start()


# --- the faults ---------------------------------------------------------------------------------
# Each does its harm and returns the event, its end noted.


def on_node(name, harm):
    def fault(world):
        node = world.any_node()
        event = Event(name, [node.name])
        harm(world, node, event)
        event.end = event.end or time.time()
        return event

    return name, fault


def on_server(name, harm):
    def fault(world):
        event = Event(name, list(world.nodes))
        harm(world)
        event.end = time.time()
        return event

    return name, fault


def kill_child(world, node, _):
    children = node.children()
    if children:
        os.kill(world.chance.choice(children), signal.SIGKILL)


def kill_node(world, node, event):
    node.kill()
    event.held = world.ask(lambda client: in_flight_of(client, node.name))
    world.start_again(node, event)


def in_flight_of(client, name):
    """Numbers of the tasks that the dead node holds."""
    return [json.loads(base64.b64decode(json.loads(text)["body"]))[0][0]
            for key in client.scan_iter("celeriac:inflight:{celery}:%s@chaos:*" % name, 1000)
            for text in client.hvals(key)]


def freeze_node(world, node, event):
    """The supervisor alone, or its processes with it, as when a whole machine is paused."""
    frozen = [node.pid, *(node.children() if world.chance.random() < 0.5 else ())]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(LEASE + world.chance.uniform(0.5, 3))
    event.backends = world.effects.backends(node.name, event.begin - 60)
    thaw(frozen)


def stop_node(number):
    def harm(world, node, event):
        status = node.stop(number, 30)
        if status:
            world.findings.append(f"{node.name} ended with {status} after {event.name}")
        world.start_again(node, event)

    return harm


def reload_node(_, node, __):
    node.send_signal(signal.SIGHUP)


def cut_node(world, node, _):
    proxy = world.place.proxies[node.name]
    if world.chance.random() < 0.5:
        proxy.sever()
        return
    proxy.cut()
    time.sleep(world.chance.uniform(0.1, 2))
    proxy.restore()


def half_open_node(world, node, _):
    proxy = world.place.proxies[node.name]
    proxy.black_hole()
    time.sleep(world.chance.uniform(0.5, 5))
    proxy.restore()


def restart_redis(world):
    world.place.server.stop(world.chance.choice((signal.SIGKILL, signal.SIGTERM)))
    time.sleep(world.chance.uniform(0, 2))
    world.place.server.start()
    world.ask(lambda client: client.ping())


def pause_redis(world):
    process = world.place.server.process
    process.send_signal(signal.SIGSTOP)
    time.sleep(world.chance.uniform(0.2, LEASE + 3))
    process.send_signal(signal.SIGCONT)


def restart_postgres(world):
    world.postgres.stop(world.chance.choice((signal.SIGINT, signal.SIGQUIT)))
    time.sleep(world.chance.uniform(0, 1))
    world.postgres.start()


def failover(harm, repair):
    """Harms the master; waits until there is another one; then repairs what was the master."""
    def fault(world):
        old = world.place.master()
        harm(world, old)
        world.place.wait_for_other(old)
        repair(old)
        world.place.wait_for_replica()  # without one the master refuses to write

    return fault


NODE_FAULTS = [
    on_node("child SIGKILL", kill_child),
    on_node("node SIGKILL", kill_node),
    on_node("node SIGSTOP beyond its lease", freeze_node),
    on_node("warm stop", stop_node(signal.SIGTERM)),
    on_node("cold stop", stop_node(signal.SIGQUIT)),
    on_node("HUP", reload_node),
    on_server("PostgreSQL restart", restart_postgres),
]
SINGLE_FAULTS = NODE_FAULTS + [
    on_node("connection cut", cut_node),
    on_node("connection half-open", half_open_node),
    on_server("Redis restart", restart_redis),
    on_server("Redis paused", pause_redis),
]
SENTINEL_FAULTS = NODE_FAULTS[:3] + [
    on_server("failover asked for", failover(
        lambda world, _: world.place.ask_for_failover(), lambda _: None)),
    on_server("master SIGKILL", failover(lambda _, old: old.stop(signal.SIGKILL), lambda old: old.start())),
    on_server("master SIGSTOP", failover(lambda _, old: old.process.send_signal(signal.SIGSTOP),
                                         lambda old: old.process.send_signal(signal.SIGCONT))),
]


# --- the run ------------------------------------------------------------------------------------


def push(world, count):
    """All tasks, before anything breaks."""
    numbers, times = iter(range(count)), chance(world.options, "tasks")
    while batch := list(itertools.islice(numbers, BATCH)):
        texts = [message("chaos.effect" if n % 2 else "chaos.effect_ignored", n,
                         times.randint(0, world.options.longest))[1] for n in batch]
        world.ask(lambda client: client.lpush("celery", *texts))


def recover(world, event):
    """Waits until the nodes of the event complete tasks again, unless none are left to do."""
    left = set(event.nodes)

    def recovered():
        left.difference_update([name for name in left if world.effects.first_after(name, event)])
        return not left or is_nearly_done(world)

    try:
        wait_until(recovered, RECOVERY, f"{left} complete tasks after {event.name}", 0.05)
    except AssertionError as error:
        world.findings.append(str(error))
    for node in world.nodes.values():
        if not node.is_alive():
            world.findings.append(f"{node.name} had to be started by hand after {event.name}: {node.text()[-300:]}")
            node.daemon.stop()
            node.start()


def is_nearly_done(world):
    return world.ask(lambda client: client.llen("celery")) < world.options.tail


def harass(world, faults):
    """Breaks one thing after the other, each as often as the others, until few tasks are left."""
    events, bag = [], []
    while not is_nearly_done(world) and (not world.options.faults or len(events) < world.options.faults):
        time.sleep(world.chance.uniform(1, 3))
        if world.options.sentinel:
            world.place.wait_for_replica()
        if not bag:
            bag = world.chance.sample(faults, len(faults))
        name, fault = bag.pop()
        events.append(fault(world))
        recover(world, events[-1])
        say(f"{name} on {','.join(events[-1].nodes)}: {events[-1].end - events[-1].begin:.2f} s; "
            f"{world.ask(lambda client: client.llen('celery'))} wait")
    return events


def finish(world):
    def over():
        return world.ask(is_over)

    try:
        wait_until(over, 600, "all tasks are over", 0.5)
    except AssertionError as error:
        world.findings.append(f"{error}: {world.ask(places)}")


def audit(world, events, count):
    table = Table(f"Random kills: {count} tasks of 0-{world.options.longest} ms, three nodes"
                  + (", Sentinel" if world.options.sentinel else ""))
    rows, seen, twice = world.effects.rows(), {}, {}
    for event in events:
        table.add(event.name, 1, seconds=recovery(world, event))
    for n, node, at in rows:
        if n in seen:
            twice.setdefault(blame(events, *seen[n]), []).append(n)
        else:
            seen[n] = (node, at)
    for name, numbers in twice.items():
        table.add(name, 0, doubled=len(numbers))
    lost = sorted(set(range(count)) - set(seen))
    buried = world.ask(dead_ids)
    for event in (event for event in events if event.held):
        last = max(at for n, _, at in rows if n in event.held)
        table.add("  what a killed node held", 0, seconds=max(0.0, last - event.begin))
    table.add("(no row in PostgreSQL)", 0, lost=max(0, len(lost) - len(buried)))
    world.findings += world.ask(lambda client: discrepancies(client, count))
    table.note(f"{len(rows)} executions, {len(lost)} without, {len(buried)} in quarantine; "
               f"{len(world.findings)} findings; seed {world.options.seed}")
    if lost:
        table.note(f"without execution: {lost[:50]}")
    table.notes += world.findings
    return table


def recovery(world, event):
    """Seconds from the end of a fault until each of its nodes had completed something; None: it had nothing to do."""
    firsts = [world.effects.first_after(name, event) for name in event.nodes]
    return max(firsts) - event.end if all(firsts) else None


def blame(events, node, at):
    """The fault nearest to an execution that was not the last, of those that hit its node."""
    def distance(event):
        return (node not in event.nodes) * 5 + max(event.begin - at, at - event.end, 0)

    return min(events, key=distance).name if events else "no fault"


def main():
    options = parser(__doc__)
    options.add_argument("--tasks", type=int, default=100000, help="how many (default 100000)")
    options.add_argument("--longest", type=int, default=20, metavar="MS", help="of a task (default 20)")
    options.add_argument("--concurrency", type=int, default=2, help="processes of a node (default 2)")
    options.add_argument("--faults", type=int, help="no more than so many; default: until the tasks are done")
    options.add_argument("--tail", type=int, default=1000, help="nothing breaks when fewer wait (default 1000)")
    options.add_argument("--only", help="only these faults, comma-separated")
    options.add_argument("--sentinel", action="store_true", help="a master, a replica and three sentinels")
    options = options.parse_args()
    if options.smoke:
        options.tasks, options.faults, options.tail = 6000, 4, 200
        options.only = options.only or "child SIGKILL,node SIGKILL,connection cut,Redis restart"
    with work_folder(options, "celeriac-randomkills-") as folder:
        sys.exit(play(options, folder))


def play(options, folder):
    faults = SENTINEL_FAULTS if options.sentinel else SINGLE_FAULTS
    if options.only:
        faults = [fault for fault in faults if fault[0] in options.only.split(",")]
    place = (Replicated if options.sentinel else Single)(folder)
    world = None
    try:
        world = World(options, folder, place)
        push(world, options.tasks)
        if options.sentinel:
            place.wait_for_replica()
        world.start()
        say(f"{options.tasks} tasks wait, {len(faults)} kinds of fault")
        events = harass(world, faults)
        finish(world)
        for node in world.nodes.values():
            status = node.stop()
            if status:
                world.findings.append(f"{node.name} ended with {status} at the end")
        table = audit(world, events, options.tasks)
    finally:
        if world:
            world.stop()
        place.stop()
    table.print(options)
    return 1 if table.lost() or world.findings else 0


if __name__ == "__main__":
    main()
