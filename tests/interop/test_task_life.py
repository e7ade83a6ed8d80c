"""What Celery's own client asks of a task, run by a worker of ours."""
import os
import time
import unittest

from interop.test_messages import forget_results
from support.servers import RedisServer, celeriac, celeriac_worker, temporary_folder, wait_until


class TaskLife(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-life-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        config = os.path.join(cls.folder, "celeriac.ini")
        with open(config, "w") as file:
            file.write("[worker]\nresult_extended = yes\ntrack_started = yes\n")
        cls.worker = cls.enterClassContext(
            celeriac_worker(cls.redis, cls.folder, ["probe"], "-c", "2", "--config", config))
        from celery import Celery

        cls.app = Celery("life", broker=cls.redis.url, backend=cls.redis.url, set_as_current=False)
        cls.addClassCleanup(cls.app.close)
        cls.addClassCleanup(forget_results)

    def test_map_starmap_and_chunks(self):
        add, echo = self.app.signature("tests.add"), self.app.signature("tests.echo")
        from celery.canvas import chunks, xmap, xstarmap

        self.assertEqual(xmap(echo, [1, [2]], app=self.app).delay().get(10), [[[1], {}], [[[2]], {}]])
        self.assertEqual(xstarmap(add, [(1, 2), (3, 4)], app=self.app).delay().get(10), [3, 7])
        pieces = chunks(add, [(i, i) for i in range(5)], 2, app=self.app).group().delay()
        self.assertEqual(pieces.get(10), [[0, 2], [4, 6], [8]])

    def test_built_in_tasks(self):
        self.assertEqual(self.app.send_task("celery.accumulate", (1, [2])).get(10), [1, [2]])
        self.assertEqual(self.app.send_task("celery.accumulate", ([1], [2]), {"index": 0}).get(10), [1])
        self.assertIsNone(self.app.send_task("celery.backend_cleanup").get(10))
        with self.assertRaisesRegex(NotImplementedError, "chord_unlock"):
            self.app.send_task("celery.chord_unlock", ("g", {})).get(10)

    def test_every_compression_of_kombu(self):
        for method in "gzip", "bzip2", "lzma", "zstd":
            with self.subTest(method=method):
                result = self.app.send_task("tests.echo", ("é" * 1000,), compression=method)
                self.assertEqual(result.get(10), [["é" * 1000], {}])

    def test_a_rejected_call_has_no_result_and_a_requeued_one_runs_again(self):
        path = os.path.join(self.folder, "runs")
        result = self.app.send_task("tests.reject", kwargs={"requeue": True, "until": 3, "path": path})
        self.assertEqual(result.get(10), 4)
        rejected = self.app.send_task("tests.reject", ("not mine",))
        client = self.redis.client()
        entries = wait_until(lambda: client.xrange("celeriac:dead:{celery}"), 10, "quarantine")
        self.assertEqual([fields[b"reason"] for _, fields in entries], [b"rejected"])
        self.assertEqual(entries[0][1][b"detail"], b"not mine")
        self.assertFalse(rejected.ready())
        client.close()

    def test_states_of_its_own(self):
        result = self.app.send_task("tests.state", ("UPLOADING",), {"ms": 700})
        wait_until(lambda: result.state == "UPLOADING", 10, "the state")
        self.assertEqual(result.info, {"bytes": 5})
        result.get(10)

    def test_what_is_retried_by_itself(self):
        result = self.app.send_task("tests.autoretry", ("OSError", "away"))
        with self.assertRaisesRegex(OSError, "away"):
            result.get(10)
        self.assertEqual(result.retries, 2)
        result = self.app.send_task("tests.autoretry", ("ValueError",))
        with self.assertRaises(ValueError):
            result.get(10)
        self.assertEqual(result.retries, 0)

    def test_results_say_more_if_wanted(self):
        started = self.app.send_task("tests.sleep", (600,))
        wait_until(lambda: started.state == "STARTED", 10, "STARTED")
        self.assertEqual(started.info["hostname"], started.worker)
        started.get(10)
        result = self.app.send_task("tests.echo", (1, [2.5]), {"k": None})
        result.get(10)
        self.assertEqual((result.name, result.args, result.kwargs, result.retries, result.queue),
                         ("tests.echo", [1, [2.5]], {"k": None}, 0, "celery"))
        self.assertRegex(result.worker, "^celery@")
        late = self.app.send_task("tests.hard_limited")
        with self.assertRaises(Exception):
            late.get(20)
        self.assertEqual((late.name, late.args, late.kwargs), ("tests.hard_limited", [], {}))

    def test_time_limits_of_the_call_come_before_those_of_the_task(self):
        begin = time.monotonic()
        with self.assertRaisesRegex(Exception, "TimeLimitExceeded|0.3"):
            self.app.send_task("tests.hard_limited", time_limit=0.3).get(20)
        soft = self.app.send_task("tests.soft_limited", soft_time_limit=0.05, time_limit=20)
        with self.assertRaisesRegex(Exception, "SoftTimeLimitExceeded|^$"):
            soft.get(20)
        self.assertEqual(soft.result.__class__.__name__, "SoftTimeLimitExceeded")
        self.assertLess(time.monotonic() - begin, 10)



class Exchanges(unittest.TestCase):
    """Queues that kombu binds, and calls of ours for their exchanges."""

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-exchanges-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        from kombu import Connection, Exchange, Queue

        cls.connection = cls.enterClassContext(Connection(cls.redis.url))
        direct, topic = Exchange("orders", "direct"), Exchange("events", "topic")
        for name, exchange, key in (("paid", direct, "order.paid"), ("books", direct, "order.paid"),
                                    ("sent", direct, "order.sent"), ("all", topic, "#"), ("eu", topic, "eu.*.new"),
                                    ("us", topic, "us.#")):
            Queue(name, exchange, routing_key=key)(cls.connection.default_channel).declare()

    def call(self, *arguments):
        return celeriac("call", "shop.audit", "7", *arguments, redis=self.redis)

    def received(self):
        """The queues that got the message, each by kombu's own reading."""
        found = {}
        for name in "paid", "books", "sent", "all", "eu", "us":
            while message := self.connection.default_channel.basic_get(name, no_ack=True):
                found[name] = message
        return found

    def test_a_routing_key_leads_to_the_queues_that_kombu_bound(self):
        for exchange, key, queues in (("orders", "order.paid", {"paid", "books"}), ("orders", "order.sent", {"sent"}),
                                      ("events", "eu.order.new", {"all", "eu"}), ("events", "us.a.b", {"all", "us"}),
                                      ("events", "", {"all"})):
            with self.subTest(exchange=exchange, key=key):
                done = self.call("--exchange", exchange, "--routing-key", key)
                self.assertEqual(done.returncode, 0, done.stderr)
                received = self.received()
                self.assertEqual(set(received), queues)
                for message in received.values():
                    self.assertEqual(message.delivery_info["exchange"], exchange)
                    self.assertEqual(message.delivery_info["routing_key"], key)
                    self.assertEqual(message.headers["id"], done.stdout.strip())

    def test_kombu_itself_would_choose_the_same(self):
        from kombu import Exchange

        with self.connection.Producer() as producer:
            for kind, exchange, key in (("topic", "events", "eu.a.b.new"), ("topic", "events", "eu..new"),
                                        ("topic", "events", "us."), ("topic", "events", "eu"), ("direct", "orders", "order.paid")):
                with self.subTest(key=key):
                    producer.publish({}, exchange=Exchange(exchange, kind), routing_key=key)
                    theirs = set(self.received())
                    self.call("--exchange", exchange, "--routing-key", key)
                    self.assertEqual(set(self.received()), theirs)

    def test_a_key_that_leads_nowhere_is_an_error(self):
        for exchange, key in (("orders", "order.lost"), ("unheard", "of")):
            with self.subTest(exchange=exchange):
                done = self.call("--exchange", exchange, "--routing-key", key)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f'no queue is bound to exchange "{exchange}" for routing key "{key}"', done.stderr)


if __name__ == "__main__":
    unittest.main()
