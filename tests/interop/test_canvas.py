"""Canvases of Celery's client, run by a C worker alone."""
import base64
import gc
import json
import unittest
import uuid

from celery import Celery, chain, chord, group
from celery.exceptions import ChordError
from integration.worker.calls import message
from support.servers import RedisServer, celeriac_worker, revoke, temporary_folder, wait_until


class Canvas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = temporary_folder("celeriac-canvas-")
        cls.folder = folder.__enter__()
        cls.addClassCleanup(folder.__exit__, None, None, None)
        cls.server = RedisServer(cls.folder)
        cls.addClassCleanup(cls.server.stop)
        cls.server.start()
        cls.redis = cls.server.client()
        cls.addClassCleanup(cls.redis.close)
        cls.app = cls.client(0)
        cls.run_worker()

    @classmethod
    def client(cls, database):
        url = "redis+socket://" + cls.server.socket
        app = Celery(broker=url, backend=f"{url}?virtual_host={database}", set_as_current=False)

        def close():  # what is left of results asks the server to forget them
            gc.collect()
            app.backend.result_consumer.stop()
            app.close()

        cls.addClassCleanup(close)
        return app

    @classmethod
    def run_worker(cls, *arguments, name="worker"):
        worker = celeriac_worker(cls.server, cls.folder, ["probe"], "-c", "2", *arguments, name=name)
        cls.addClassCleanup(worker.stop)
        worker.start()

    def sig(self, name, *args, **options):
        return self.app.signature("tests." + name, args=args, **options)

    def add(self, *args, **options):
        return self.sig("add", *args, **options)

    def get(self, result, seconds=10):
        return result.get(timeout=seconds)

    def test_links_are_called_with_the_result(self):
        result = self.add(1, 2).apply_async(link=[self.add(10), self.sig("echo", "as it is", immutable=True)])
        self.assertEqual(self.get(result), 3)
        children = [self.app.AsyncResult(child.id) for child in result.children[0].results]
        self.assertEqual([self.get(child) for child in children], [13, [["as it is"], {}]])

    def test_a_chain_goes_on(self):
        result = chain(self.add(1, 1), self.add(2), self.add(3), app=self.app)()
        self.assertEqual(self.get(result), 7)
        self.assertEqual(self.get(result.parent), 4)
        long = chain(*[self.add(0, 1)] + [self.add(1) for _ in range(99)], app=self.app)()
        self.assertEqual(self.get(long), 100)

    def test_a_group_in_a_chain_is_a_chord(self):
        result = chain(self.add(1, 1), group(self.add(10), self.add(20), app=self.app), self.sig("echo"), app=self.app)()
        self.assertEqual(self.get(result), [[[12, 22]], {}])

    def test_a_chord_fires_once(self):
        header = [self.add(n, n) for n in range(50)]
        result = chord(header, app=self.app)(self.sig("echo"))
        self.assertEqual(self.get(result), [[[2 * n for n in range(50)]], {}])
        wait_until(lambda: not self.redis.keys("*taskset*"), 5, "the chord's keys are gone")

    def test_chords_within_chords(self):
        inner = chord([self.add(1, 1), self.add(2, 2)], self.sig("echo"), app=self.app)
        self.assertEqual(self.get(chord([inner, self.add(5, 5)], app=self.app)(self.sig("echo"))),
                         [[[[[[2, 4]], {}], 10]], {}])

    def test_a_failed_member_fails_the_body(self):
        failed = self.sig("fail", "ValueError", "deliberate")
        result = chord([self.add(1, 1), failed, self.add(2, 2)], app=self.app)(self.sig("echo"))
        with self.assertRaises(ChordError) as caught:
            self.get(self.app.AsyncResult(result.id))
        self.assertIn("raised ValueError('deliberate')", str(caught.exception))

    def test_the_rest_of_a_chain_fails_with_its_element(self):
        result = chain(self.add(1, 1), self.sig("fail", "KeyError", "no", immutable=True), self.add(1), self.add(2), app=self.app)()
        with self.assertRaises(KeyError):
            self.get(result)
        self.assertEqual(result.parent.state, "FAILURE")
        self.assertEqual(result.parent.parent.parent.get(timeout=5), 2)

    def test_errbacks_are_told_of_every_manner_of_failure(self):
        for task, arguments, options in (("fail", ("ValueError", "x"), {}), ("crash", (), {}),
                                         ("loop", (), {"time_limit": 1}), ("retry_always", (0, "no"), {})):
            key = "errback-" + uuid.uuid4().hex
            errback = self.sig("echo").set(task_id=key)
            result = self.sig(task, *arguments).apply_async(link_error=errback, **options)
            wait_until(lambda: self.app.AsyncResult(key).ready(), 30, task)
            self.assertEqual(self.app.AsyncResult(key).get(timeout=5), [[result.id], {}])
            self.assertEqual(result.state, "FAILURE")

    def test_a_revoked_member_counts(self):
        revoke(self.redis, "three")
        result = chord([self.add(1, 1), self.add(2, 2).set(task_id="three")], app=self.app)(self.sig("echo"))
        with self.assertRaises(ChordError) as caught:
            self.get(self.app.AsyncResult(result.id))
        self.assertIn("three raised TaskRevokedError('revoked')", str(caught.exception))

    def test_an_expired_member_counts(self):
        late = self.add(2, 2).set(expires=-1)
        result = chord([self.add(1, 1), late], app=self.app)(self.sig("echo"))
        with self.assertRaises(ChordError):
            self.get(self.app.AsyncResult(result.id))

    def test_an_unregistered_member_counts(self):
        nobody = self.app.signature("tests.nobody_knows")
        result = chord([self.add(1, 1), nobody], app=self.app)(self.sig("echo"))
        with self.assertRaises(ChordError) as caught:
            self.get(self.app.AsyncResult(result.id))
        self.assertIn("NotRegistered", str(caught.exception))

    def test_ignored_results_count_in_a_chord(self):
        quiet = [self.add(n, 1).set(ignore_result=True) for n in range(3)]
        self.assertEqual(self.get(chord(quiet, app=self.app)(self.sig("echo"))), [[[1, 2, 3]], {}])

    def test_results_on_another_database(self):
        app = self.client(3)
        self.run_worker("-Q", "other", "--result-backend", f"unix://{self.server.socket}?db=3", name="other")
        members = [app.signature("tests.add", args=(n, 1), queue="other") for n in range(10)]
        result = chord(members, app=app)(app.signature("tests.echo", queue="other"))
        self.assertEqual(self.get(result), [[[n + 1 for n in range(10)]], {}])

    def test_an_embed_that_is_none_fails_its_task_alone(self):
        for embed in ({"callbacks": 5}, {"chain": [7]}, {"callbacks": [{"task": 1}]}, {"chain": {}, "callbacks": [[]]}):
            id, text = message("tests.add", 1, 2)
            envelope = json.loads(text)
            envelope["body"] = base64.b64encode(json.dumps([[1, 2], {}, embed]).encode()).decode()
            self.redis.lpush("celery", json.dumps(envelope))
            wait_until(lambda: self.app.AsyncResult(id).ready(), 10, embed)
            self.assertEqual(self.app.AsyncResult(id).state, "FAILURE", embed)
        self.assertEqual(self.get(self.add(1, 2).delay()), 3)


if __name__ == "__main__":
    unittest.main()
