"""Events as monitors receive them: by Celery's own receiver, and by `celery events --dump`."""
import json
import os
import signal
import subprocess
import threading
import time
import unittest

from integration.control.asking import NODE, AskingTest, VECTORS
from integration.worker.calls import iso
from support.servers import Daemon, wait_until

import base64


def recorded_events():
    """The keys of each type of event, as Celery's workers send them; without utcoffset, which shifts timestamps."""
    keys = {}
    for name in sorted(os.listdir(VECTORS)):
        if not name.startswith("e-526"):
            continue
        with open(os.path.join(VECTORS, name)) as file:
            published = json.load(file)["published"]
        for message in published:
            body = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
            for event in body if isinstance(body, list) else [body]:
                keys.setdefault(event["type"], set(event) - {"utcoffset"})
    return keys


KEYS = recorded_events()


class Monitor(threading.Thread):
    """Celery's receiver of events."""

    def __init__(self, app):
        super().__init__(daemon=True)
        self.app, self.events, self.ended = app, [], False
        self.connection = app.connection_for_read()
        self.receiver = app.events.Receiver(self.connection, handlers={"*": self.events.append})

    def run(self):
        # what the receiver adds or changes on arrival is left out: what was sent counts
        self.receiver.event_from_message = lambda body, **_: (body["type"], dict(body))
        with self.receiver.consumer_context() as (connection, _, _):
            while not self.ended:
                try:
                    connection.drain_events(timeout=0.2)
                except TimeoutError:
                    pass

    def stop(self):
        self.ended = True
        self.join()
        self.connection.release()

    def of(self, type, uuid=None):
        return [event for event in self.events if event["type"] == type and uuid in (None, event.get("uuid"))]


class Events(AskingTest):
    def monitor(self):
        before = self.redis.pubsub_numpat()
        monitor = Monitor(self.client())
        monitor.start()
        self.addCleanup(monitor.stop)
        wait_until(lambda: self.redis.pubsub_numpat() > before, 10, "the monitor listens")
        return monitor

    def one(self, monitor, type, uuid=None, seconds=10):
        wait_until(lambda: monitor.of(type, uuid), seconds, f"{type} of {uuid}: {[e['type'] for e in monitor.events]}")
        (event,) = monitor.of(type, uuid)
        self.assertEqual(set(event), KEYS[type])
        self.assertEqual(event["hostname"], NODE)
        return event

    def test_the_worker_comes_lives_and_goes(self):
        monitor = self.monitor()
        worker = self.start("-c", "2")
        online = self.one(monitor, "worker-online")
        self.assertEqual((online["freq"], online["active"], online["processed"], online["pid"]), (2.0, 0, 0, worker.pid))
        self.assertEqual(len(online["loadavg"]), 3)
        self.assertLess(abs(online["timestamp"] - time.time()), 30)
        self.send("tests.sleep", 60000)
        wait_until(lambda: [event for event in monitor.of("worker-heartbeat") if event["active"] == 1], 10, "it is active")
        wait_until(lambda: len(monitor.of("worker-heartbeat")) >= 3, 15, "three heartbeats")
        beats = [event["timestamp"] for event in monitor.of("worker-heartbeat")]
        self.assertLess(max(abs(b - a - 2) for a, b in zip(beats, beats[1:])), 1.5)
        before = len(monitor.of("worker-heartbeat"))
        self.tell("heartbeat")
        wait_until(lambda: len(monitor.of("worker-heartbeat")) > before, 1.5, "one that was asked for")
        clocks = [event["clock"] for event in monitor.events]
        self.assertEqual(clocks, sorted(set(clocks)))
        self.assertEqual(monitor.of("task-received"), [])  # nobody wanted those
        worker.send_signal(signal.SIGQUIT)
        worker.wait()
        self.assertEqual(self.one(monitor, "worker-offline")["processed"], 1)

    def test_what_becomes_of_tasks(self):
        self.start("-c", "2", "-E")
        monitor = self.monitor()
        id = self.send("tests.add", 1, 2, root_id="r", parent_id="p", expires=iso(60))
        received, started, succeeded = (self.one(monitor, "task-" + type, id) for type in ("received", "started", "succeeded"))
        self.assertEqual([received[key] for key in ("name", "args", "kwargs", "root_id", "parent_id", "retries", "eta")],
                         ["tests.add", "(1, 2)", "{}", "r", "p", 0, None])
        self.assertEqual(succeeded["result"], "3")
        self.assertTrue(0 < succeeded["runtime"] < 10)
        self.assertLess(received["clock"], started["clock"])
        self.assertLess(started["clock"], succeeded["clock"])

        ignored = self.send("tests.add", 20, 2, ignore_result=True)
        self.assertEqual(self.one(monitor, "task-succeeded", ignored)["result"], "22")
        self.assertEqual(self.result(ignored)["status"], "PENDING")

        failed = self.one(monitor, "task-failed", self.send("tests.fail", "KeyError", "it's"))
        self.assertEqual(failed["exception"], 'KeyError("it\'s")')
        self.assertIn("KeyError", failed["traceback"])

        retried = self.send("tests.retry_always")
        wait_until(lambda: monitor.of("task-retried", retried), 10, "it is retried")
        self.assertEqual(set(monitor.of("task-retried", retried)[0]), KEYS["task-retried"])

        expired = self.one(monitor, "task-revoked", self.send("tests.add", 1, 1, expires=iso(-5)))
        self.assertEqual([expired[key] for key in ("expired", "terminated", "signum")], [True, False, None])
        self.assertEqual(monitor.of("task-received", expired["uuid"]), [])

        running = self.send("tests.sleep", 60000)
        self.one(monitor, "task-started", running)
        self.tell("revoke", task_id=running, terminate=True, signal="SIGKILL")
        revoked = self.one(monitor, "task-revoked", running)
        self.assertEqual([revoked[key] for key in ("expired", "terminated", "signum")], [False, True, 9])

        unknown = self.send("no.such.task")
        wait_until(lambda: monitor.of("task-failed", unknown), 10, "it failed")
        self.assertEqual(monitor.of("task-failed", unknown)[0]["exception"], "NotRegistered('no.such.task')")

        rejected = self.one(monitor, "task-rejected", self.send("tests.reject"))
        self.assertEqual(rejected["requeue"], False)

        crashed = self.send("tests.crash", "segv")
        rejected = wait_until(lambda: monitor.of("task-rejected", crashed), 10, "it goes back")[0]
        self.assertEqual((set(rejected), rejected["requeue"]), (KEYS["task-rejected"], True))

    def test_they_are_sent_while_somebody_wants_them(self):
        self.start("-c", "2")
        monitor = self.monitor()
        self.get(self.send("tests.add", 1, 2))
        self.tell("enable_events")
        wanted = self.send("tests.add", 3, 4)
        self.one(monitor, "task-succeeded", wanted)
        self.tell("disable_events")
        self.get(self.send("tests.add", 5, 6))
        self.tell("heartbeat")
        beats = len(monitor.of("worker-heartbeat"))
        wait_until(lambda: len(monitor.of("worker-heartbeat")) > beats, 10, "what comes later")
        self.assertEqual({event["uuid"] for event in monitor.events if event["type"].startswith("task-")}, {wanted})

    def test_none_is_lost_of_many(self):
        self.start("-c", "2", "-E", "-l", "warning")
        monitor = self.monitor()
        ids = [self.send("tests.noop") for _ in range(3000)]
        for type in ("task-received", "task-started", "task-succeeded"):
            # one that was given back is received again
            wait_until(lambda: {event["uuid"] for event in monitor.of(type)} == set(ids), 60, f"all {type}", 0.1)

    def test_many_events_are_one_message(self):
        self.start("-c", "2", "-E", "-l", "warning")
        listener = self.redis.pubsub()
        self.addCleanup(listener.close)
        listener.psubscribe("/0.celeryev/task.multi")
        wait_until(lambda: listener.get_message(timeout=1), 10, "it listens")
        for _ in range(500):
            self.send("tests.noop")
        sizes = []
        def read():
            message = listener.get_message(timeout=0.1)
            if message and message["type"] == "pmessage":
                sizes.append(len(json.loads(base64.b64decode(json.loads(message["data"])["body"]))))
            return sum(sizes) >= 1500  # one that was given back is received again
        wait_until(read, 30, "all of them", 0)
        self.assertLessEqual(max(sizes), 24)
        self.assertLess(len(sizes), 1500)

    def test_redis_that_is_away_costs_events_not_tasks(self):
        worker = self.start("-c", "2", "-E")
        self.server.stop()
        time.sleep(0.5)
        self.server.start()
        wait_until(lambda: self.redis.pubsub_numpat() == 2, 20, "the worker listens again")
        monitor = self.monitor()
        id = self.send("tests.add", 1, 2)
        self.assertEqual(self.get(id, 20), 3)
        wait_until(lambda: monitor.of("worker-heartbeat"), 20, "it is seen again")
        worker.send_signal(signal.SIGUSR1)
        worker.says(r'msg=Report .*events=\d+ events_lost=\d+')

    def test_without_heartbeat_nothing_is_seen(self):
        monitor = self.monitor()
        worker = self.start("--without-heartbeat")
        self.tell("heartbeat")
        self.get(self.send("tests.add", 1, 2))
        worker.stop()
        self.assertEqual(monitor.events, [])

    def test_an_election_is_answered(self):
        monitor = self.monitor()
        self.start()
        sender = self.client()
        with sender.events.default_dispatcher(hostname="py@host") as dispatcher:
            dispatcher.send("worker-elect", id="e1", topic="t", action={}, cver=1)
        ack = wait_until(lambda: monitor.of("worker-elect-ack"), 10, "an answer")[0]
        self.assertEqual((ack["id"], ack["hostname"]), ("e1", NODE))

    def test_celery_events_dump(self):
        dump = Daemon(["/usr/bin/python3", "-u", "-W", "ignore", "-m", "celery", "-b", self.server.url, "events", "--dump"],
                      self.folder, "dump", ready="evdump")
        self.addCleanup(dump.stop)
        dump.start()
        wait_until(lambda: self.redis.pubsub_numpat() == 1, 20, "it listens")
        worker = self.start("-c", "1", "-E")
        id = self.send("tests.add", 1, 2)
        for words in (rf"{NODE} .*started", rf"{NODE} .*heartbeat", rf"task received.*\({id}\)|tests.add\({id}\)",
                      rf"task started: tests.add\({id}\)", rf"task succeeded: tests.add\({id}\)"):
            dump.says(words, seconds=20)
        worker.stop()
        dump.says(rf"{NODE} .*shutdown", seconds=20)


if __name__ == "__main__":
    unittest.main()
