"""Beats on a real Redis. Each slot leaves a mark and a message in one step, so the two can be counted
against each other whatever happened in between."""
import base64
import collections
import datetime
import json
import os
import random
import re
import signal
import time
import unittest

from support.servers import CELERIAC, Daemon, RedisServer, temporary_folder, wait_until

TICKS = """
[beat tick]
task = test.tick
every = 200ms
args = [1, "zwei", null]
kwargs = {"deep": {"list": [1.5, true]}}
[beat slow tick]
task = test.slow
every = 300ms
queue = slow
priority = 4
expires = 1h
[beat never]
task = test.never
every = 10ms
enabled = no
[beat fast]
task = test.fast
every = 10ms
queue = fast
"""


PYTHON_WORKER = """
import json
import os
import celery

app = celery.Celery(broker=os.environ["BROKER"])


def ran(task, args, kwargs):
    app.connection_for_write().default_channel.client.rpush("ran", json.dumps([task.request.id, args, kwargs]))


@app.task(name="test.tick", bind=True)
def tick(self, *args, **kwargs):
    ran(self, args, kwargs)


@app.task(name="test.slow", bind=True)
def slow(self, *args, **kwargs):
    ran(self, args, kwargs)
"""


class BeatTest(unittest.TestCase):
    def setUp(self):
        folder = temporary_folder("celeriac-beat-")
        self.folder = folder.__enter__()
        self.addCleanup(folder.__exit__, None, None, None)
        self.redis = RedisServer(self.folder, options={"appendonly": "yes", "appendfsync": "no"}).start()
        self.addCleanup(self.redis.stop)
        self.beats = 0

    def beat(self, text=TICKS, *arguments):
        """A beat that is up."""
        path = os.path.join(self.folder, "beat.ini")
        with open(path, "w") as file:
            file.write(text)
        self.beats += 1
        daemon = Daemon([CELERIAC, "beat", "--config", path, "-b", self.redis.url, "-l", "debug", *arguments],
                        self.folder, f"beat{self.beats}", ready="Beat ready")
        self.addCleanup(daemon.stop)
        return daemon.start()

    def messages(self, queue="celery"):
        """Oldest first, over all priority lists."""
        client = self.redis.client()
        found = []
        for key in [queue, *(f"{queue}\x06\x16{step}" for step in (3, 6, 9))]:
            found += [json.loads(text) for text in reversed(client.lrange(key, 0, -1))]
        return found

    def marks(self, entry):
        """The slots of an entry that were fired, in milliseconds."""
        prefix = f"celeriac:beat:{entry}:"
        keys = self.redis.client().scan_iter(match=prefix + "*", count=10000)
        return sorted(int(key.decode()[len(prefix):]) for key in keys)

    def assert_each_slot_once(self):
        """Marks and messages agree; no id was sent twice."""
        for entry, queue, interval in (("tick", "celery", 200), ("slow tick", "slow", 300), ("fast", "fast", 10)):
            marks, messages = self.marks(entry), self.messages(queue)
            self.assertEqual(len(marks), len(messages), entry)
            self.assertEqual(len({message["headers"]["id"] for message in messages}), len(messages))
            self.assertEqual([mark for mark in marks if mark % interval], [])
        self.assertEqual(self.marks("never"), [])

    def fired(self, *beats):
        """(entry, slot, time of the line) of every line that says so."""
        line = re.compile(r'time=(\S+) .*msg="Entry fired" entry="?(.*?)"? slot=(\S+) ')
        parse = datetime.datetime.fromisoformat
        return [(entry, parse(slot), parse(when)) for beat in beats for when, entry, slot in line.findall(beat.text())]


class Messages(BeatTest):
    def test_a_message_is_what_the_entry_says(self):
        beat = self.beat()
        wait_until(lambda: self.messages("slow") and self.messages(), 5, "messages")
        beat.stop()
        message = self.messages()[0]
        headers, properties = message["headers"], message["properties"]
        self.assertEqual(headers["task"], "test.tick")
        self.assertEqual(headers["periodic_task_name"], "tick")
        self.assertEqual(headers["root_id"], headers["id"])
        self.assertIsNone(headers["expires"])
        self.assertEqual(properties["correlation_id"], headers["id"])
        self.assertEqual(properties["delivery_info"]["routing_key"], "celery")
        args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
        self.assertEqual(args, [1, "zwei", None])
        self.assertEqual(kwargs, {"deep": {"list": [1.5, True]}})

        self.assertEqual(self.redis.client().llen("slow\x06\x163"), len(self.messages("slow")))
        message = self.messages("slow")[0]
        self.assertEqual(message["properties"]["priority"], 4)
        expires = datetime.datetime.fromisoformat(message["headers"]["expires"]).timestamp()
        self.assertAlmostEqual(expires, time.time() + 3600, delta=60)

    def test_celerys_own_worker_runs_it(self):
        with open(os.path.join(self.folder, "app.py"), "w") as file:
            file.write(PYTHON_WORKER)
        environment = {"BROKER": self.redis.url, "PYTHONPATH": self.folder}
        worker = Daemon(["/usr/bin/python3", "-B", "-m", "celery", "-A", "app", "worker", "-P", "solo", "-Q", "celery,slow",
                         "--without-mingle", "--without-gossip"], self.folder, "python", environment)
        self.addCleanup(worker.stop)
        worker.start()
        beat = self.beat()
        client = self.redis.client()
        expected = {'[[1, "zwei", null], {"deep": {"list": [1.5, true]}}]', "[[], {}]"}

        def enough():
            ran = client.lrange("ran", 0, -1)
            return ran if len(ran) > 6 and len({json.dumps(json.loads(text)[1:]) for text in ran}) > 1 else None

        ran = wait_until(enough, 30, "tasks that ran, of both entries")
        beat.stop()
        self.assertEqual({json.dumps(json.loads(text)[1:]) for text in ran}, expected)
        self.assertEqual(len({json.loads(text)[0] for text in ran}), len(ran))

    def test_a_crontab_fires_at_the_full_minute_in_its_zone(self):
        india = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
        due = [datetime.datetime.now(india) + datetime.timedelta(minutes=n) for n in (1, 2)]
        minutes = ",".join(str(when.minute) for when in due)
        hours = ",".join(str(hour) for hour in sorted({when.hour for when in due}))
        beat = self.beat(f"[beat c]\ntask = t\ncrontab = {minutes} {hours} * * *\ntimezone = +05:30\n"
                         "[beat n]\ntask = t\ncrontab = * * * * *\ntimezone = Asia/Kolkata\n"
                         f"[beat u]\ntask = t\ncrontab = {minutes} {(due[0].hour + 12) % 24} * * *\n")
        wait_until(lambda: len(self.fired(beat)) >= 2, 65, "the full minute", 0.1)
        beat.stop()
        (first, slot, when), (second, same_slot, _) = self.fired(beat)
        self.assertEqual([first, second], ["c", "n"])
        self.assertEqual(slot, same_slot)
        self.assertEqual((slot.second, slot.microsecond), (0, 0))
        self.assertLess((when - slot).total_seconds(), 1)


class ManyBeats(BeatTest):
    def test_beats_beside_each_other_fire_each_slot_once(self):
        beats = [self.beat() for _ in range(3)]
        started = time.time() * 1000
        time.sleep(3)
        ended = time.time() * 1000
        for beat in beats:
            self.assertEqual(beat.stop(), 0)
        self.assert_each_slot_once()
        marks = self.marks("tick")
        expected = range(int(started // 200 + 1) * 200, int(ended // 200) * 200, 200)
        self.assertEqual(sorted(set(expected) - set(marks)), [])
        fired = self.fired(*beats)
        self.assertEqual(len(fired), sum(len(self.messages(queue)) for queue in ("celery", "slow", "fast")))
        self.assertEqual([slot for slot, count in collections.Counter(f[:2] for f in fired).items() if count > 1], [])
        self.assertEqual([f for f in fired if f[2] < f[1]], [], "fired before its time")
        late = sorted((when - slot).total_seconds() for _, slot, when in fired)
        self.assertLess(late[len(late) // 2], 0.05)

    def test_kills_do_not_fire_a_slot_twice_nor_lose_one_that_another_beat_sees(self):
        steady = self.beat()
        started = time.time() * 1000
        random.seed(7)
        for _ in range(8):
            victim = self.beat()
            time.sleep(random.uniform(0.05, 0.3))
            victim.stop(signal.SIGKILL)
        ended = time.time() * 1000
        self.assertEqual(steady.stop(), 0)
        self.assert_each_slot_once()
        expected = range(int(started // 200 + 1) * 200, int(ended // 200) * 200, 200)
        self.assertEqual(sorted(set(expected) - set(self.marks("tick"))), [])

    def test_after_a_restart_the_missed_slots_are_skipped(self):
        beat = self.beat()
        wait_until(lambda: len(self.marks("tick")) > 5, 5, "slots")
        self.assertEqual(beat.stop(), 0)
        stopped = time.time() * 1000
        before = len(self.marks("tick"))
        time.sleep(1)
        restarted = time.time() * 1000
        again = self.beat()
        wait_until(lambda: len(self.marks("tick")) > before + 5, 5, "slots after the restart")
        self.assertEqual(again.stop(), 0)
        self.assert_each_slot_once()
        self.assertEqual([mark for mark in self.marks("tick") if stopped < mark <= restarted], [])
        self.assertNotIn("missed_since", again.text())


class RedisAway(BeatTest):
    def outage(self, leave, come_back):
        """One outage; at most one slot of each entry that passed meanwhile is fired besides the last."""
        beat = self.beat()
        wait_until(lambda: len(self.marks("slow tick")) > 2, 5, "slots")
        left = time.time() * 1000
        leave()
        wait_until(lambda: "Redis does not answer" in beat.text(), 20, "beat notices")
        back = time.time() * 1000
        come_back()
        wait_until(lambda: "Redis answers again" in beat.text(), 20, "beat goes on")
        wait_until(lambda: self.marks("slow tick")[-1] > back + 1000, 20, "slots after the outage")
        self.assertEqual(beat.stop(), 0)
        self.assert_each_slot_once()
        for entry in ("tick", "slow tick"):
            inside = [mark for mark in self.marks(entry) if left + 300 < mark < back - 300]
            self.assertLessEqual(len(inside), 2, entry)
        beat.says("Redis does not answer", 1)
        beat.says("Redis answers again", 1)
        beat.says("missed_since")

    def test_a_server_that_stops_and_starts(self):
        self.outage(self.redis.stop, self.redis.start)

    def test_a_server_that_hangs(self):
        self.outage(lambda: self.redis.process.send_signal(signal.SIGSTOP),
                    lambda: self.redis.process.send_signal(signal.SIGCONT))

    def test_a_refused_entry_leaves_the_others_alone(self):
        client = self.redis.client()
        client.set("slow\x06\x163", "not a list")
        beat = self.beat()
        wait_until(lambda: "cannot be fired" in beat.text(), 5, "the refusal")
        before = len(self.marks("tick"))
        wait_until(lambda: len(self.marks("tick")) > before + 8, 5, "the other entry")
        self.assertEqual(self.marks("slow tick"), [])
        client.delete("slow\x06\x163")
        wait_until(lambda: self.marks("slow tick"), 10, "the refused entry")
        self.assertEqual(beat.stop(), 0)
        self.assert_each_slot_once()
        beat.says("cannot be fired", 1)
        self.assertNotIn("Redis does not answer", beat.text())


class Signals(BeatTest):
    def test_signals(self):
        beat = self.beat()
        beat.send_signal(signal.SIGUSR1)
        wait_until(lambda: beat.text().count("msg=Entry ") == 4, 5, "the report")
        self.assertRegex(beat.text(), r'msg=Entry entry=never task=test.never next=disabled origin=\S+beat.ini:14')
        self.assertRegex(beat.text(), r'msg=Entry entry=tick task=test.tick next=20\d\d-\S+ ')
        beat.send_signal(signal.SIGHUP)
        wait_until(lambda: "SIGHUP changes nothing" in beat.text(), 5, "the answer to HUP")
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
            self.assertEqual(beat.stop(number), 0)
            self.assertIn("Beat stopped", beat.text())
            beat = self.beat()

    def test_a_second_signal_does_not_wait_for_a_silent_server(self):
        beat = self.beat()
        wait_until(lambda: self.marks("tick"), 5, "a slot")
        self.redis.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(0.2)
            began = time.monotonic()
            beat.send_signal(signal.SIGTERM)
            wait_until(lambda: "Beat stops" in beat.text(), 5, "the first signal")
            beat.send_signal(signal.SIGTERM)
            self.assertEqual(beat.wait(5), 0)
            self.assertLess(time.monotonic() - began, 2)
        finally:
            self.redis.process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
