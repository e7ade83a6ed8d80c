"""Calls as they stand on the wire, and what a test wants to know of them afterwards."""
import base64
import datetime
import json
import os
import re
import unittest
import uuid

from support.servers import RedisServer, celeriac_worker, temporary_folder, wait_until

READY = ("SUCCESS", "FAILURE", "REVOKED")


def iso(seconds_from_now):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return moment.isoformat(timespec="microseconds")


def message(task, *args, id=None, queue="celery", priority=0, kwargs=None, embed=None, **headers):
    """One envelope, as Celery writes it."""
    id = id or str(uuid.uuid4())
    follow = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **(embed or {})}
    body = json.dumps([list(args), kwargs or {}, follow])
    return id, json.dumps({
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": task, "id": id, "shadow": None, "eta": None, "expires": None, "group": None,
            "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": id, "parent_id": None,
            "argsrepr": repr(args), "kwargsrepr": repr(kwargs or {}), "origin": "gen1@test", "ignore_result": False,
            **headers,
        },
        "properties": {
            "correlation_id": id, "reply_to": str(uuid.uuid4()), "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue}, "priority": priority, "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }).encode()


class WorkerTest(unittest.TestCase):
    """A private Redis for each test; workers are stopped at its end."""

    def setUp(self):
        folder = temporary_folder("celeriac-worker-")
        self.folder = folder.__enter__()
        self.addCleanup(folder.__exit__, None, None, None)
        self.server = RedisServer(self.folder)
        self.addCleanup(self.server.stop)
        self.server.start()
        self.redis = self.server.client()
        self.addCleanup(self.redis.close)

    def worker(self, *arguments, modules=("probe",), name="worker", **options):
        worker = celeriac_worker(self.server, self.folder, modules, *arguments, name=name, **options)
        self.addCleanup(worker.stop)
        return worker.start()

    def send(self, task, *args, **options):
        id, text = message(task, *args, **options)
        self.redis.lpush(options.get("queue", "celery"), text)
        return id

    def result(self, id):
        text = self.redis.get("celery-task-meta-" + id)
        return json.loads(text) if text else {"status": "PENDING"}

    def wait(self, id, seconds=10.0, states=READY):
        """The document of `id` once it is in one of `states`."""
        def document():
            result = self.result(id)
            return result if result["status"] in states else None

        return wait_until(document, seconds, f"{states} of {id}, now {self.result(id)}", 0.002)

    def get(self, id, seconds=10.0):
        """The value that `id` returned."""
        result = self.wait(id, seconds)
        self.assertEqual(result["status"], "SUCCESS", result)
        return result["result"]

    def failure(self, id, seconds=10.0):
        """(exc_type, exc_module, exc_message) of `id`."""
        result = self.wait(id, seconds)
        self.assertEqual(result["status"], "FAILURE", result)
        return tuple(result["result"][key] for key in ("exc_type", "exc_module", "exc_message"))

    def in_flight(self, queue="celery"):
        return sum(self.redis.hlen(key) for key in self.redis.scan_iter("celeriac:inflight:{%s}:*" % queue))

    def staged(self, queue="celery"):
        return sum(self.redis.llen(key) for key in self.redis.scan_iter("celeriac:staging:{%s}:*" % queue))

    def delayed(self, queue="celery"):
        return self.redis.zcard("celeriac:delayed:{%s}" % queue)

    def dead(self, queue="celery"):
        """The quarantine, oldest first."""
        return [fields for _, fields in self.redis.xrange("celeriac:dead:{%s}" % queue)]

    def waiting(self, queue="celery"):
        return self.redis.llen(queue)

    def wait_idle(self, seconds=10.0, queue="celery"):
        # in the order in which a message moves, so that none is missed
        wait_until(lambda: self.waiting(queue) + self.staged(queue) + self.in_flight(queue) == 0, seconds,
                   f"{queue} is empty and nothing of it in flight")

    def running(self, worker, id, seconds=10.0):
        """Waits until the log says that `id` was received, and it is in flight."""
        wait_until(lambda: re.search(r'"Task received".*' + id, worker.text()), seconds, f"{id} received")


def wait_for_children(worker, count):
    """Waits until so many children have said hello and are idle, by the worker's own report."""
    def idle():
        return worker.report(children=count).count("state=IDLE") == count

    wait_until(idle, 10, f"{count} idle children", 0.05)


def children_of(pid):
    """Pids and states ("S", "Z" ...) of the processes whose parent is `pid`."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found[int(entry)] = fields[0]
    return found
