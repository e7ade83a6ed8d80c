#!/usr/bin/python3
"""A day of cron and delays in simulated time, while beats and workers are killed: each slot and each delayed task once.

    cronday.py                          29 March 2026, on which the clocks of Berlin skip an hour, in 5 minutes
    cronday.py --date 2026-10-25        on which they show one twice
    cronday.py --hours 3 --speed 600

How time is simulated: beats, workers and tasks see a wall clock that starts at the date and runs `--speed` times as
fast as the real one (tests/support/wall_clock.c, preloaded). They share it: a process that is started later reads the
same time. What depends on the calendar goes by it: slots, etas, promotion. The monotonic clock is left alone, and Redis
too; so leases (by Redis's clock), deadlines, back-offs and timers last as long as always. A lease of 2 real seconds
is ten simulated minutes then, and what a killed worker held comes that much later; nothing is ever too early or twice.

The slots are computed here, by walking through the minutes of the day with Python's zoneinfo, and not by Celeriac. They
are compared with the marks that beats leave in Redis, one for each slot that was sent.

Two beats at most are dead at any time, of three. An execution may come twice when its worker was killed meanwhile (and
is then marked as redelivered); a slot or a delayed task that is lost, sent twice, or too early is an error.
"""
import collections
import datetime
import itertools
import os
import sys
import time
import zoneinfo

from common import (BUILD, Background, Node, RedisServer, chance, counts, is_over, parser, percentile, wait_until, work_folder)
from marks import Calls, Report
from support.servers import CELERIAC, Daemon

ENTRIES = (  # name, expression or seconds, zone. Ten minutes between two slots are a second or more
    ("quarters", "*/15 * * * *", "UTC"),
    ("berlin", "*/10 * * * *", "Europe/Berlin"),
    ("the skipped hour", "5,20,50 1-3 * * *", "Europe/Berlin"),
    ("new york", "7,37 */2 * * *", "America/New_York"),
    ("lord howe", "0,30 0-6 * * *", "Australia/Lord_Howe"),
    ("kolkata on sundays", "10 * * * sun", "Asia/Kolkata"),
    ("never in march", "0 * * 4 *", "UTC"),
    ("every twenty minutes", 1200, None),
    ("every three hours", 10800, None),
)
ENTRY_NUMBERS = 10**6  # the tasks of entry i have the number ENTRY_NUMBERS + i; delayed ones have those below
MINUTE = datetime.timedelta(minutes=1)
TASK_MS = 300  # at most; real ones, so that kills hit running tasks
START_SECONDS = 5  # real ones, until all daemons are up


# --- what is due --------------------------------------------------------------------------------


def field(text, least, most, names=()):
    """The values of one field of a crontab, of the forms used above."""
    found = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{least}-{most}" if span == "*" else span).partition("-")
        first = names.index(first) if first in names else int(first)
        found |= set(range(first, (int(last) if last else first) + 1, int(step or 1)))
    return found


def cron_slots(expression, zone, begin, end):
    """Walks through real minutes. Each wall-clock time counts once, and those that are skipped when the clocks
    go forward come at the first minute after; an expression for every hour counts real minutes."""
    minutes, hours, days, months, weekdays = expression.split()
    wanted = (field(minutes, 0, 59), field(hours, 0, 23), field(days, 1, 31), field(months, 1, 12),
              field(weekdays, 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")))
    zone, by_real_minutes = zoneinfo.ZoneInfo(zone), hours == "*"

    def matches(local):
        shown = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7)
        return all(value in values for value, values in zip(shown, wanted))

    at = begin - datetime.timedelta(days=1)  # the latest local time so far is known by then
    latest, slots = at.astimezone(zone).replace(tzinfo=None), []
    while at < end:
        at += MINUTE
        local = at.astimezone(zone).replace(tzinfo=None)
        if by_real_minutes:
            due = matches(local)
        else:
            shown = (latest + MINUTE * n for n in range(1, (local - latest) // MINUTE + 1))
            due = any(matches(one) for one in shown)
        latest = max(latest, local)
        if due and begin < at <= end:
            slots.append(int(at.timestamp()))
    return slots


def usec_of(moment):
    return int(moment.timestamp()) * 10**6


def slots_of(entry, begin, end):
    """Seconds since 1970."""
    _, rule, zone = entry
    if zone:
        return cron_slots(rule, zone, begin, end)
    return [at for at in range(rule, int(end.timestamp()) + 1, rule) if at > begin.timestamp()]


# --- the clock ----------------------------------------------------------------------------------


class Clock:
    """The wall clock that all daemons of this run see."""

    def __init__(self, begin, speed):
        self.begin_usec, self.speed = usec_of(begin), speed
        self.anchor_usec = time.monotonic_ns() // 1000

    def now_usec(self):
        return self.begin_usec + (time.monotonic_ns() // 1000 - self.anchor_usec) * self.speed

    def sleep_until(self, usec):
        time.sleep(max(0, usec - self.now_usec()) / self.speed / 1e6)

    @property
    def environment(self):
        return {"LD_PRELOAD": os.path.join(BUILD, "tests", "wall_clock.so"),
                "CELERIAC_TEST_CLOCK": f"{self.anchor_usec} {self.begin_usec} {self.speed}"}


# --- the fleet ----------------------------------------------------------------------------------


def configuration(calls):
    for number, (name, rule, zone) in enumerate(ENTRIES):
        yield f"[beat {name}]\ntask = tests.mark\nargs = [\"{calls.path}\", {ENTRY_NUMBERS + number}, {TASK_MS}]\n"
        yield f"crontab = {rule}\ntimezone = {zone}\n" if zone else f"every = {rule}s\n"


class Fleet:
    def __init__(self, options, folder, server, calls, clock):
        path = os.path.join(folder, "beat.ini")
        with open(path, "w") as file:
            file.writelines(configuration(calls))
        self.beats = [Daemon([CELERIAC, "beat", "--config", path, "-b", server.url, "-l", "info"], folder, f"beat{n}",
                             clock.environment, ready="Beat ready") for n in range(3)]
        self.nodes = [Node(server, folder, f"node{n}", lease="2s", modules=("marks",), level="warning")
                      for n in range(3)]
        for node in self.nodes:
            node.daemon.environment.update(clock.environment)
        self.random, self.pause = chance(options, "kills"), options.kills
        self.kills, self.stopped, self.killing = collections.Counter(), False, None

    def start(self):
        for one in (*self.beats, *self.nodes):
            one.start()
        self.killing = Background(self.kill)

    def kill(self):
        """Beats and workers in turn, one or two at a time, so that one is always there."""
        for kind in itertools.cycle((self.beats, self.nodes)):
            time.sleep(self.pause * self.random.uniform(0.5, 1.5))
            if self.stopped:
                break
            victims = self.random.sample(kind, self.random.randint(1, 2))
            for victim in victims:
                victim.stop(9)
            self.kills["beats" if kind is self.beats else "workers"] += len(victims)
            time.sleep(self.random.uniform(0, 0.5))
            for victim in victims:
                victim.start()

    def stop_killing(self):
        self.stopped = True
        self.killing.join()

    def stop_beats(self):
        for beat in self.beats:
            beat.stop()

    def stop(self):
        self.stopped = True
        if self.killing:
            self.killing.thread.join()
        for one in (*self.beats, *self.nodes):
            one.stop()


def send_delayed(options, redis, calls, begin_usec, end_usec, clock):
    """Sends calls all day long, each for a later moment of it; returns {number: eta}."""
    random, plan = chance(options, "delays"), []
    for _ in range(options.tasks):
        sent = random.randrange(begin_usec, end_usec)
        plan.append((sent, random.randrange(sent, end_usec)))
    etas = {}
    for number, (sent, etas[number]) in enumerate(sorted(plan)):
        clock.sleep_until(sent)
        calls.push(redis, [calls.make(number, ms=random.randint(0, TASK_MS), eta_usec=etas[number])])
    return etas


# --- the verdict --------------------------------------------------------------------------------


def fired_slots(redis, name):
    """From the marks that beats leave: seconds since 1970."""
    prefix = f"celeriac:beat:{name}:"
    return sorted(int(key.decode()[len(prefix):]) // 1000 for key in redis.scan_iter(prefix + "*", 10000))


def show(seconds):
    return ", ".join(datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%d %H:%M") for at in seconds[:5])


def judge_entry(report, redis, runs, number, entry, day, seen):
    """Each slot of the day was sent once, none that is not due, and each ran. Returns how many were sent."""
    fired = fired_slots(redis, entry[0])
    missed, extra = sorted(set(slots_of(entry, *day)) - set(fired)), sorted(set(fired) - set(slots_of(entry, *seen)))
    starts, ends = runs[ENTRY_NUMBERS + number]
    first = sum(not mark.redelivered for mark in starts)
    report.expect(not missed, f"{entry[0]}: slots that were not sent: {show(missed)}")
    report.expect(not extra, f"{entry[0]}: sent and not due: {show(extra)}")
    report.expect(first <= len(fired), f"{entry[0]}: {first} first executions of {len(fired)} slots")
    report.expect(len(ends) >= len(fired), f"{entry[0]}: {len(ends)} executions of {len(fired)} slots")
    return len(fired)


def judge_delayed(report, runs, etas):
    lost = [number for number in etas if not runs[number][1]]
    early = [number for number, eta in etas.items() if any(mark.usec < eta for mark in runs[number][0])]
    silent = [number for number in etas if any(not mark.redelivered for mark in runs[number][0][1:])]
    report.expect(not lost, f"delayed tasks that never ran: {lost[:10]}")
    report.expect(not early, f"delayed tasks that ran too early: {early[:10]}")
    report.expect(not silent, f"delayed tasks that ran again and were not marked as redelivered: {silent[:10]}")
    return [(runs[number][0][0].usec - eta) / 1e6 for number, eta in etas.items() if runs[number][0]]


def judge(report, redis, calls, etas, day, seen, speed):
    runs = calls.executions()
    slots = sum(judge_entry(report, redis, runs, number, entry, day, seen) for number, entry in enumerate(ENTRIES))
    late = judge_delayed(report, runs, etas)
    starts, done = sum(len(started) for started, _ in runs.values()), counts(redis).get("done", 0)
    report.add("slots that were due", sum(len(slots_of(entry, *day)) for entry in ENTRIES))
    report.add("slots that were sent", slots)
    report.add("delayed tasks", len(etas))
    report.add("done", done)
    report.add("executions", starts)
    report.add("of them again, after a kill", starts - slots - len(etas))
    report.times("lateness of the delayed, real", [seconds / speed for seconds in late], percentile)
    report.expect(done == slots + len(etas), f"{done} tasks were counted as done")


def run(options, folder, report):
    begin = datetime.datetime.fromisoformat(options.date).replace(tzinfo=datetime.timezone.utc)
    end = begin + datetime.timedelta(hours=options.hours)
    calls = Calls(folder, options.seed)
    with RedisServer(folder) as server:
        redis = server.client()
        clock = Clock(begin - datetime.timedelta(seconds=START_SECONDS * options.speed), options.speed)
        fleet = Fleet(options, folder, server, calls, clock)
        try:
            fleet.start()
            report.expect(clock.now_usec() < usec_of(begin), "the start took too long: lower the speed")
            clock.sleep_until(usec_of(begin))
            etas = send_delayed(options, redis, calls, usec_of(begin), usec_of(end), clock)
            clock.sleep_until(usec_of(end))
            fleet.stop_killing()
            time.sleep(1)  # for the slot at the very end
            fleet.stop_beats()
            stopped = datetime.datetime.fromtimestamp(clock.now_usec() // 10**6, datetime.timezone.utc)
            wait_until(lambda: is_over(redis), 60, "nothing is left", 0.1)
        finally:
            fleet.stop()
        report.add("simulated", f"{options.hours} h, {options.speed} times as fast")
        for kind in ("beats", "workers"):
            report.add(kind + " killed", fleet.kills[kind])
        judge(report, redis, calls, etas, (begin, end), (begin - datetime.timedelta(days=1), stopped), options.speed)


def main():
    options = parser(__doc__)
    options.add_argument("--date", default="2026-03-29", help="the day (default 2026-03-29)")
    options.add_argument("--hours", type=int, metavar="N", help="simulated (default 24)")
    options.add_argument("--speed", type=int, metavar="N", help="simulated seconds in a real one (default 300)")
    options.add_argument("--tasks", type=int, metavar="N", help="delayed tasks (default 2000)")
    options.add_argument("--kills", type=float, default=2, metavar="SECONDS", help="real time between kills (default 2)")
    options = options.parse_args()
    options.hours = options.hours or (1 if options.smoke else 24)
    options.speed = options.speed or (600 if options.smoke else 300)
    options.tasks = options.tasks or (50 if options.smoke else 2000)
    report = Report(f"a day of cron and delays: {options.date}")
    with work_folder(options, "celeriac-cronday-") as folder:
        run(options, folder, report)
    return report.finish(options)


if __name__ == "__main__":
    sys.exit(main())
