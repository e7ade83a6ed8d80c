"""What the tests of the shop have in common: servers, one worker at a time, calls and their results."""
import json
import os
import signal
import subprocess
import unittest

from support import shop
from support.servers import PostgresServer, RedisServer, celeriac, temporary_folder, wait_until

ENDED = ("SUCCESS", "FAILURE", "REVOKED")


class ShopCase(unittest.TestCase):
    """Servers for all tests of a class; `self.work()` starts a worker for one test."""

    database = True  # whether PostgreSQL is needed
    seed = False

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-shop-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        cls.postgres = None
        if cls.database:
            cls.postgres = cls.enterClassContext(PostgresServer(cls.folder))
            shop.prepare(cls.postgres, seed=cls.seed)
            cls.connection = cls.postgres.connect()
            cls.connection.autocommit = True
            cls.addClassCleanup(cls.connection.close)
        cls.client = cls.redis.client()
        cls.addClassCleanup(cls.client.close)
        cls.workers = 0

    def setUp(self):
        self.client.flushall()

    def worker(self, *arguments, **settings):
        """A worker with these settings, for a with statement."""
        type(self).workers += 1
        name = f"worker{self.workers}"
        return shop.worker(self.redis, self.postgres, self.folder, "-c", "2", *arguments, name=name, **settings)

    def work(self, *arguments, **settings):
        """The same, running until the test ends."""
        return self.enterContext(self.worker(*arguments, **settings))

    def kill_children(self, worker):
        children = subprocess.run(["pgrep", "-P", str(worker.pid)], capture_output=True, text=True).stdout.split()
        self.assertEqual(len(children), 2)
        for child in children:
            os.kill(int(child), signal.SIGKILL)

    # --- calls and results

    def call(self, name, *words):
        """`celeriac call` with these words; the id of the task."""
        return celeriac("call", "products.tasks." + name, *words, redis=self.redis, check=True).stdout.strip()

    def stored(self, task_id):
        document = self.client.get("celery-task-meta-" + task_id)
        return json.loads(document) if document else {"status": "PENDING", "result": None}

    def ended(self, task_id, seconds=20):
        """The result document of a task that has ended."""
        wait_until(lambda: self.stored(task_id)["status"] in ENDED, seconds, f"{task_id} ends")
        return self.stored(task_id)

    def returns(self, name, *words):
        """What a task returns that must succeed."""
        document = self.ended(self.call(name, *words))
        self.assertEqual(document["status"], "SUCCESS", document)
        return document["result"]

    def fails(self, name, *words):
        """Type and text of the failure of a task that must fail."""
        document = self.ended(self.call(name, *words))
        self.assertEqual(document["status"], "FAILURE", document)
        return self.failure(document)

    @staticmethod
    def failure(document):
        return document["result"]["exc_type"], " ".join(map(str, document["result"]["exc_message"]))

    # --- the database

    def sql(self, statement, *values):
        """Rows of a statement as tuples; one statement is one transaction."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def one(self, statement, *values):
        """The only value of the only row."""
        ((value,),) = self.sql(statement, *values)
        return value

    def transaction(self, statement, *values):
        """A connection of its own, in whose open transaction the statement stands."""
        connection = self.postgres.connect()
        self.addCleanup(connection.close)
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
        return connection

    def wait_for_waiting(self, count):
        wait_until(lambda: self.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == count,
                   10, f"{count} statements wait for a lock")
