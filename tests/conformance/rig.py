"""The servers that the conformance suite runs against: a private Redis, one worker under test, and Celery's client.

What is tested is said by the environment (run.py sets it from its options):

    CONFORMANCE_WORKER   "celeriac" (default): build/modules/conformance.so; "reference": Celery's own worker with
                         t/integration/tasks.py; anything else is a shell command that starts a worker, which finds
                         CELERY_BROKER_URL, CELERY_RESULT_BACKEND, REDIS_HOST and REDIS_PORT in its environment
    CONFORMANCE_SLOTS    how many tasks it runs at once, default 8
    CELERY_TAG           v5.2.6, v5.6.3: which Celery the client has to be; default: whatever Python finds

One process of tests has one Redis and one worker, started by the first case and ended with the process.
"""
import atexit
import base64
import contextlib
import json
import os
import re
import shlex
import sys
import time
import unittest
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from support.servers import CELERIAC, MODULES, NOTIFY, Daemon, RedisServer, free_port, temporary_folder, wait_until  # noqa: E402

PORT = free_port()
ENVIRONMENT = {"CELERY_BROKER_URL": f"redis://127.0.0.1:{PORT}/0", "CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{PORT}/0",
               "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(PORT)}
os.environ.update(ENVIRONMENT)

import celery  # noqa: E402
import celery.exceptions  # noqa: E402
import redis  # noqa: E402
from support.celery_client import take_leave  # noqa: E402
from t.integration import tasks  # noqa: E402

WORKER = os.environ.get("CONFORMANCE_WORKER", "celeriac")
SLOTS = int(os.environ.get("CONFORMANCE_SLOTS", "8"))
VERSION = celery.VERSION[:2]
SECONDS = 20  # of any wait that does not say more
META = "celery-task-meta-"
TASKSET = "celery-taskset-meta-"
SEPARATOR = "\x06\x16"

TAG = os.environ.get("CELERY_TAG")
if TAG and TAG.lstrip("v") != celery.__version__:
    sys.exit(f"CELERY_TAG is {TAG}, but Python finds Celery {celery.__version__} ({celery.__file__}): set PYTHONPATH")


def needs(version):
    """Marks a case that needs a client of at least this version: "5.6"."""
    wanted = tuple(map(int, version.split(".")))
    return unittest.skipIf(VERSION < wanted, f"needs Celery {version}, this client is {celery.__version__}")


def reference_fails(why, until=(5, 3)):
    """Marks what Celery's own worker before `until` does not do, as `why` says."""
    return unittest.skipIf(WORKER == "reference" and VERSION < until, f"Celery {celery.__version__}: {why}")


# --- servers ----------------------------------------------------------------------------------------


def command():
    if WORKER == "reference":
        return [sys.executable, "-B", "-m", "celery", "-A", "t.integration.tasks", "--workdir", HERE, "worker", "-c",
                str(SLOTS), "-l", "info"], "ready."
    if WORKER == "celeriac":
        return [CELERIAC, "worker", "-A", os.path.join(MODULES, "conformance.so"), "-c", str(SLOTS), "-l", "info"], NOTIFY
    return shlex.split(WORKER), None


class Rig:
    """The servers of this process."""

    def __init__(self):
        self.server = None

    def start(self):
        if self.server:
            return
        self.stack = contextlib.ExitStack()
        atexit.register(self.stack.close)
        folder = os.environ.get("CONFORMANCE_KEEP") or self.stack.enter_context(temporary_folder("conformance-"))
        os.makedirs(folder, exist_ok=True)
        self.server = self.stack.enter_context(RedisServer(folder, port=PORT))
        arguments, ready = command()
        self.worker = Daemon(arguments, folder, environment=ENVIRONMENT, ready=ready)
        self.worker.start(60)
        self.stack.callback(take_leave, tasks.app)
        self.stack.callback(self.worker.stop)
        if not ready:
            wait_until(lambda: tasks.app.control.ping(timeout=1), 60, "the worker answers ping")


rig = Rig()


# --- cases ------------------------------------------------------------------------------------------


class Case(unittest.TestCase):
    """A case of the suite. What it calls is awaited by Celery's client; what it looks at lies in `redis`."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        rig.start()
        cls.app, cls.tasks = tasks.app, tasks
        cls.redis = redis.Redis(port=PORT, decode_responses=True)
        cls.addClassCleanup(cls.redis.close)
        cls.redis.delete("redis-echo", "redis-count")

    # --- calls

    def get(self, result, seconds=SECONDS):
        """Celery's client subscribes and asks on two connections: what is published between the two it never hears of.
        It asks again with each get()."""
        end = time.monotonic() + seconds
        while True:
            try:
                return result.get(timeout=min(3, seconds))
            except celery.exceptions.TimeoutError:
                if time.monotonic() >= end:
                    raise

    def gets(self, canvas, expected, *args, **options):
        """Sends `canvas` (a signature) and compares what it comes to; returns the result."""
        result = canvas.apply_async(args, **options)
        self.assertEqual(self.get(result), expected)
        return result

    def fails(self, result, type, *args, seconds=SECONDS):
        """`result` ends with an exception of exactly this class (and these arguments, if there are any)."""
        with self.assertRaises(type) as caught:
            result.get(timeout=seconds)
        self.assertIs(caught.exception.__class__, type)
        if args:
            self.assertEqual(caught.exception.args, args)
        return caught.exception

    # --- documents

    def stored(self, id):
        """The document of a task, or None."""
        text = self.redis.get(META + id)
        return json.loads(text) if text else None

    def document(self, id, *states, seconds=SECONDS):
        """The document of a task as soon as it is in one of `states` (default: those of an end)."""
        wanted = states or ("SUCCESS", "FAILURE", "REVOKED")

        def found():
            document = self.stored(id)
            return document if document and document["status"] in wanted else None

        return wait_until(found, seconds, f"{id} is {wanted}, now {self.stored(id)}")

    def failure(self, id, type, *message, module, seconds=SECONDS):
        """The stored exception of a task, all three fields of it; returns the document."""
        document = self.document(id, "FAILURE", seconds=seconds)
        self.assertEqual(document["result"], {"exc_type": type, "exc_message": list(message), "exc_module": module})
        return document

    # --- what tasks leave in Redis

    def key(self, name="key"):
        """A name that no other case uses."""
        return f"{name}-{uuid.uuid4()}"

    def list_of(self, key, count, seconds=SECONDS):
        """The elements of a list once it has `count`."""
        wait_until(lambda: self.redis.llen(key) >= count, seconds, f"{count} elements in {key}, now {self.redis.lrange(key, 0, -1)}")
        return self.redis.lrange(key, 0, -1)

    def counted(self, key, count=1, seconds=SECONDS):
        """Waits until a counter has come to `count`."""
        wait_until(lambda: int(self.redis.get(key) or 0) >= count, seconds, f"{key} is {count}, now {self.redis.get(key)}")
        self.assertEqual(int(self.redis.get(key)), count)

    def gone(self, *keys, seconds=SECONDS):
        wait_until(lambda: not self.redis.exists(*keys), seconds, f"{keys} are deleted")

    def sent_to(self, queue, count=1, seconds=SECONDS):
        """What was sent to a queue that nobody consumes: a list of (headers, properties, args, kwargs, embed), oldest first."""
        return [opened(text) for text in reversed(self.list_of(queue, count, seconds))]

    def passes(self, seconds):
        """Time in which something must not happen."""
        time.sleep(seconds)


def opened(text):
    message = json.loads(text)
    args, kwargs, embed = json.loads(base64.b64decode(message["body"]))
    return message["headers"], message["properties"], args, kwargs, embed


def fixed(signature, id=None):
    """The signature with an id that is known before."""
    return signature.set(task_id=id or str(uuid.uuid4()))


def last_id(text):
    """The task id in a text, such as that of a ChordError."""
    return re.search(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text).group()


def signature_of(name, *args, **kwargs):
    """A signature of a task that is known here by its name only."""
    return tasks.app.signature(name, args=args, kwargs=kwargs)
