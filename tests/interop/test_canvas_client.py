"""Canvases that a C client sends, executed by a Python worker, and read by both."""
import gc
import json
import os
import subprocess
import unittest

from celery import Celery
from celery.result import GroupResult, result_from_tuple

from support.servers import BUILD, Daemon, RedisServer, temporary_folder, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


class CanvasClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-canvas-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        cls.results = cls.redis
        cls.start()

    @classmethod
    def start(cls):
        cls.environment = {"CELERY_BROKER_URL": cls.redis.url, "CELERY_RESULT_BACKEND": cls.results.url}
        cls.worker = cls.enterClassContext(Daemon(
            ["/usr/bin/python3", "-m", "celery", "-A", "pytasks", "--workdir", HERE, "worker", "--pool", "solo",
             "-l", "info"], cls.folder, "python", cls.environment, ready="ready."))
        cls.app = Celery(broker=cls.redis.url, backend=cls.results.url)

    @classmethod
    def tearDownClass(cls):
        gc.collect()  # what is left of results asks the server to forget them
        cls.app.backend.result_consumer.stop()
        cls.app.close()

    def send(self, canvas, what="wait"):
        done = subprocess.run([os.path.join(BUILD, "tests", "canvas_client"), canvas, what],
                              env=dict(os.environ, **self.environment), capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return json.loads(done.stdout)

    def values(self, canvas):
        documents = self.send(canvas)["results"]
        self.assertEqual([d["status"] for d in documents], ["SUCCESS"] * len(documents))
        return [d["result"] for d in documents]

    def test_the_results_are_those_that_celery_would_give(self):
        for canvas, expected in (("chain", [[[13], {}]]),
                                 ("group", [3, 7, 11]),
                                 ("chord", [10]),
                                 ("nested_chord", [120]),
                                 ("group_in_chain", [8, 9]),
                                 ("empty_chord", [0]),
                                 ("maps", [[0, 2, 4, 6, 8], [0, 2, 4, 6, 8], [0, 2], [4, 6], [8]])):
            with self.subTest(canvas=canvas):
                self.assertEqual(self.values(canvas), expected)

    def test_python_reads_the_handles(self):
        for canvas, expected in (("chain", [[13], {}]), ("group", [3, 7, 11]), ("chord", 10), ("nested_chord", 120)):
            with self.subTest(canvas=canvas):
                result = result_from_tuple(self.send(canvas)["handle"], app=self.app)
                self.assertEqual(result.get(timeout=20), expected)
        parents = []
        result = result_from_tuple(self.send("nested_chord")["handle"], app=self.app)
        while result:
            parents.append(type(result).__name__)
            result = result.parent
        self.assertEqual(parents, ["AsyncResult", "AsyncResult", "GroupResult"])

    def test_a_saved_group_is_restored(self):
        sent = self.send("group", "save")
        group = GroupResult.restore(sent["handle"][0][0], app=self.app)
        self.assertEqual(group.get(timeout=20), [3, 7, 11])
        key = "celery-taskset-meta-" + sent["handle"][0][0]
        self.assertTrue(86000 < int(self.results.client().ttl(key)) <= 86400)

    def wait_marks(self, count):
        redis = self.redis.client()
        wait_until(lambda: redis.llen("marks") == count, 20, "the marks of callbacks")
        marks = [json.loads(mark) for mark in redis.lrange("marks", 0, -1)]
        redis.delete("marks")
        return sorted(marks, key=lambda mark: mark[1])

    def test_callbacks_get_the_result_and_errbacks_the_id(self):
        self.send("linked")
        self.assertEqual(self.wait_marks(2), [[42, "callback"], ["fixed", "immutable"]])
        for canvas in "broken_chord", "broken_chain":
            with self.subTest(canvas=canvas):
                sent = self.send(canvas)
                self.assertEqual(sent["results"][0]["status"], "FAILURE")
                (failed, word), = self.wait_marks(1)
                self.assertEqual(word, "errback")
                document = json.loads(self.results.client().get("celery-task-meta-" + failed))
                self.assertEqual(document["status"], "FAILURE")
        self.assertEqual(sent["results"][0]["result"]["exc_type"], "ValueError")

    def test_a_broken_chord_is_a_chord_error(self):
        error = self.send("broken_chord")["results"][0]["result"]
        self.assertEqual(error["exc_type"], "ChordError")
        self.assertRegex(error["exc_message"][0], r"^Dependency [-0-9a-f]{36} raised ValueError\('on purpose'\)$")
        self.wait_marks(1)


class CanvasClientElsewhere(CanvasClient):
    """The same with results on another server: chords are opened there."""

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-canvas-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        cls.results = cls.enterClassContext(RedisServer(cls.folder, "results"))
        cls.start()


if __name__ == "__main__":
    unittest.main()
