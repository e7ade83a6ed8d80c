"""Every kind of message and result document that we write is put before real Celery.

The bytes come from tests/support/encode_calls.c; a Python worker must run each message and see in it
what the call said. Nothing here compares our bytes with remembered ones: Celery is the judge.
"""
import base64
import json
import math
import os
import subprocess
import sys
import time
import unittest
import unittest.mock

from support.servers import BUILD, Daemon, RedisServer, temporary_folder, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
ENCODE = os.path.join(BUILD, "tests", "encode_calls")
OTHER_QUEUE = "other queue ü"

PLAIN = [None, True, False, 0, -2**63, 2**63 - 1, 2**64 - 1, 1.0, -0.0, 0.1, 1e300, 5e-324, math.nan, -math.inf, "",
         "naïve 名前 \U0001f600", "\0\x1f\x7f \"q\" 'q' \\ \r\n\t", [1, [], {"é": None, "": {}}]]
TYPED_AS_TEXT = ["1.10", "2024-02-29T12:30:15.123456Z", "2024-02-29T00:00:00", "01:02:03",
                 "00000000-0000-4000-8000-000000000005"]


def described(values):
    return [[type(value).__name__, repr(value)] for value in values]


def encode(what, message=""):
    done = subprocess.run([ENCODE, what], input=message, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class Messages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-messages-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        environment = {"CELERY_BROKER_URL": cls.redis.url, "CELERY_RESULT_BACKEND": cls.redis.url}
        cls.enterClassContext(unittest.mock.patch.dict(os.environ, environment))
        sys.path.insert(0, HERE)
        import message_tasks

        cls.app = message_tasks.app
        cls.client = cls.redis.client()
        cls.messages = {}
        cls.begun = time.time()
        for line in encode("calls"):
            kind, queue, step, message = line.split("\t")
            cls.messages[kind] = json.loads(message)
            cls.push(message, queue, int(step))
        cls.worker = cls.enterClassContext(Daemon(
            ["/usr/bin/python3", "-B", "-m", "celery", "-A", "message_tasks", "--workdir", HERE, "worker", "--pool", "solo",
             "--without-gossip", "--without-mingle", "-Q", "celery," + OTHER_QUEUE, "-l", "info"],
            cls.folder, "python", environment, ready="ready."))

    @classmethod
    def tearDownClass(cls):
        forget_results()
        cls.app.close()
        cls.client.close()
        sys.path.remove(HERE)

    @classmethod
    def push(cls, message, queue="celery", step=0):
        cls.client.lpush(queue + (f"\x06\x16{step}" if step else ""), message)

    def seen_id(self, task_id):
        def look():
            self.assertIsNone(self.worker.process.poll(), "the worker died:\n" + self.worker.text()[-4000:])
            return self.client.hget("seen", task_id)

        return json.loads(wait_until(look, 20, f"{task_id} runs"))

    def seen(self, kind):
        return self.seen_id(self.messages[kind]["headers"]["id"])

    def result(self, kind):
        return self.app.AsyncResult(self.messages[kind]["headers"]["id"])

    def test_every_message_is_run(self):
        for kind in self.messages:
            with self.subTest(kind=kind):
                if kind == "expired":
                    continue
                seen = self.seen(kind)
                if kind != "ignored":
                    self.assertEqual(self.result(kind).get(timeout=10), seen["args"])
        self.assertNotIn("ERROR", self.worker.text())
        self.assertNotIn("CRITICAL", self.worker.text())

    def test_arguments_arrive(self):
        expected = {
            "no arguments": ([], {}),
            "positional": ([1, "two"], {}),
            "keyword": ([], {"a": 1, "é": "ü"}),
            "both": ([[]], {"a": {}}),
            "large": (["x" * 1000000], {}),
            "json": (PLAIN, {}),
            "json zlib": (PLAIN, {}),
            "json bzip2": (PLAIN, {}),
            "json lzma": (PLAIN, {}),
            "json zstd": (PLAIN, {}),
            "msgpack": (PLAIN + [b"\xff\0b"], {}),
            "msgpack zlib": (PLAIN + [b"\xff\0b"], {}),
            "typed as json": (TYPED_AS_TEXT, {}),
            "typed as msgpack": (["1.10", "2024-02-29T12:30:15.123456+00:00", "2024-02-29", "01:02:03",
                                  TYPED_AS_TEXT[-1]], {}),
            "big integer": ([-10**40], {}),
        }
        for kind, (args, kwargs) in expected.items():
            with self.subTest(kind=kind):
                seen = self.seen(kind)
                self.assertEqual(seen["args"], described(args))
                self.assertEqual(seen["kwargs"], {key: described([value])[0] for key, value in kwargs.items()})

    def test_typed_values_are_those_of_kombu(self):
        """Celery 5.2 sees the objects themselves; what kombu 5.3 makes of them is in the recorded vectors."""
        seen = self.seen("typed")
        self.assertEqual([eval(text) for _, text in seen["args"]], [
            {"__type__": "decimal", "__value__": "1.10"},
            {"__type__": "datetime", "__value__": "2024-02-29T12:30:15.123456+00:00"},
            {"__type__": "date", "__value__": "2024-02-29"},
            {"__type__": "time", "__value__": "01:02:03"},
            {"__type__": "uuid", "__value__": {"hex": "00000000000040008000000000000005"}},
            {"__type__": "base64", "__value__": "/wA="},
        ])

    def test_reprs_are_pythons(self):
        for kind in ("no arguments", "positional", "keyword", "both", "json", "msgpack", "big integer"):
            with self.subTest(kind=kind):
                seen = self.seen(kind)
                args = "".join(text + ", " for _, text in seen["args"])
                args = "(" + (args[:-1] if len(seen["args"]) == 1 else args[:-2]) + ")"
                args = args.replace("'': {}", "'': {...}")  # the fourth level, which Celery cuts so, too
                kwargs = "{" + ", ".join(f"{key!r}: {text}" for key, (_, text) in seen["kwargs"].items()) + "}"
                self.assertEqual(seen["request"]["argsrepr"], args)
                self.assertEqual(seen["request"]["kwargsrepr"], kwargs)
        self.assertLessEqual(len(self.seen("large")["request"]["argsrepr"]), 1024)

    def test_times_are_kept(self):
        for kind in ("countdown", "eta", "eta long ago"):
            with self.subTest(kind=kind):
                seen = self.seen(kind)
                eta = time_of(seen["request"]["eta"])
                self.assertGreaterEqual(seen["time"], eta)
                self.assertEqual(eta > self.begun, kind != "eta long ago")
        self.assertIsNone(self.seen("positional")["request"]["eta"])

    def test_what_has_expired_is_revoked(self):
        self.assertGreater(time_of(self.seen("expires later")["request"]["expires"]), time.time())
        result = self.result("expired")
        wait_until(result.ready, 20, "the expired task is revoked")
        self.assertEqual(result.state, "REVOKED")
        self.assertIsNone(self.client.hget("seen", result.id))

    def test_options_arrive(self):
        self.assertEqual(self.seen("time limits")["request"]["timelimit"], [30, 20.5])
        self.assertEqual(self.seen("positional")["request"]["timelimit"], [None, None])
        self.assertEqual(self.seen("retries")["request"]["retries"], 2)
        self.assertEqual(self.seen("shadow")["request"]["shadow"], "nice name")
        self.assertEqual(self.seen("headers")["request"]["tenant"], 'é "x"')
        self.assertEqual(self.seen("headers")["request"]["numbers"], [1])
        self.assertEqual(self.seen("from beat")["request"]["periodic_task_name"], "every ü")
        self.assertEqual(self.seen("own id")["request"]["id"], "an id of my own ü")
        self.assertEqual(self.seen("other queue")["delivery_info"]["routing_key"], OTHER_QUEUE)
        self.assertEqual(self.seen("positional")["delivery_info"], {"priority": 0, "routing_key": "celery", "exchange": ""})
        for priority in range(10):
            self.assertEqual(self.seen(f"priority {priority}")["delivery_info"]["priority"], priority)

    def test_a_task_knows_where_it_comes_from(self):
        request = self.seen("positional")["request"]
        self.assertEqual((request["root_id"], request["parent_id"]), (request["id"], None))
        self.assertEqual(request["correlation_id"], request["id"])
        self.assertEqual(request["origin"], "gen1@encode_calls")
        request = self.seen("from a task")["request"]
        self.assertEqual((request["root_id"], request["parent_id"]), ("the root", "the parent"))

    def test_an_ignored_result_is_not_stored(self):
        self.assertTrue(self.seen("ignored")["request"]["ignore_result"])
        self.seen("from a task")  # sent, and by the one process run, after it
        self.assertEqual(self.result("ignored").state, "PENDING")

    # --- messages of Celery that pass through us ---------------------------------------------------

    def held(self, *arguments, step=0, protocol=2, **options):
        """Celery's own message for messages.describe, taken from a queue that nobody serves."""
        self.app.conf.task_protocol = protocol
        self.app.amqp.__dict__.pop("create_task_message", None)
        try:
            sent = self.app.send_task("messages.describe", arguments, queue="held", **options)
        finally:
            self.app.conf.task_protocol = 2
            self.app.amqp.__dict__.pop("create_task_message", None)
        message = self.client.rpop("held" + (f"\x06\x16{step}" if step else ""))
        return sent.id, message.decode()

    def test_the_next_attempt_of_a_message_is_run(self):
        describe = self.app.signature("messages.describe", queue="celery", task_id="the callback")
        task_id, message = self.held("é", 1, kwargs={"k": [None]}, priority=6, step=6, headers={"tenant": "a", "numbers": [2]},
                                     time_limit=30, compression="zlib", link=describe, expires=3600)
        before = time.time()
        [retry] = encode("retry", message)
        self.push(retry)
        seen = self.seen_id(task_id)
        self.assertEqual(seen["args"], described(["é", 1]))
        self.assertEqual(seen["kwargs"], {"k": described([[None]])[0]})
        self.assertEqual(seen["request"]["retries"], 1)
        self.assertEqual(seen["request"]["tenant"], "a")
        self.assertEqual(seen["request"]["numbers"], [2])
        self.assertEqual(seen["request"]["timelimit"], [30, None])
        self.assertEqual(seen["request"]["expires"], json.loads(message)["headers"]["expires"])
        self.assertEqual(seen["delivery_info"]["priority"], 6)
        self.assertGreaterEqual(seen["time"], before + 0.3)
        self.assertEqual(len(self.seen_id("the callback")["args"]), 1)

    def test_a_body_that_was_plain_text_is_run(self):
        """As celery-ts writes it: Celery 5.2 itself would not survive this message; ours is its translation."""
        task_id, message = self.held(5, "é")
        message = json.loads(message)
        message["body"] = base64.b64decode(message["body"]).decode()
        message["properties"].update(body_encoding="utf-8", delivery_tag="celery")
        [retry] = encode("retry", json.dumps(message))
        self.push(retry)
        self.assertEqual(self.seen_id(task_id)["args"], described([5, "é"]))

    def test_a_message_of_protocol_1_is_run_as_protocol_2(self):
        for options in ({}, {"countdown": 0.2}, {"serializer": "msgpack"}, {"expires": 600, "compression": "zlib"}):
            with self.subTest(options=options):
                task_id, message = self.held(1, "é", protocol=1, kwargs={"k": 1.5}, **options)
                self.assertEqual(json.loads(message)["headers"].get("task"), None)
                [upgraded] = encode("upgrade", message)
                self.assertEqual(json.loads(upgraded)["headers"]["task"], "messages.describe")
                self.push(upgraded)
                seen = self.seen_id(task_id)
                self.assertEqual(seen["args"], described([1, "é"]))
                self.assertEqual(seen["kwargs"], {"k": described([1.5])[0]})
                self.assertEqual(seen["request"]["eta"] is not None, "countdown" in options)
                self.assertEqual(seen["request"]["expires"] is not None, "expires" in options)


class Results(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-results-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        from celery import Celery

        cls.app = Celery("results", broker=cls.redis.url, backend=cls.redis.url, set_as_current=False)
        client = cls.redis.client()
        for line in encode("results"):
            task_id, document = line.split("\t")
            client.setex("celery-task-meta-" + task_id, 60, document)
        client.close()

    @classmethod
    def tearDownClass(cls):
        forget_results()
        cls.app.close()

    def test_values_are_read(self):
        result = self.app.AsyncResult("success")
        self.assertEqual((result.state, result.get(timeout=5)), ("SUCCESS", {"a": [1, 2.5, None, "é"]}))
        self.assertAlmostEqual(result.date_done.timestamp() if hasattr(result.date_done, "timestamp")
                               else time_of(result.date_done), time.time(), delta=60)
        self.assertEqual(self.app.AsyncResult("nothing").get(timeout=5), None)

    def test_states_are_read(self):
        started = self.app.AsyncResult("started")
        self.assertEqual((started.state, started.info), ("STARTED", {"pid": 5, "hostname": "h"}))
        self.assertFalse(started.ready())
        progress = self.app.AsyncResult("progress")
        self.assertEqual((progress.state, progress.info), ("PROGRESS", {"done": 3}))

    def test_exceptions_are_raised(self):
        with self.assertRaisesRegex(ValueError, '^né "x"$'):
            self.app.AsyncResult("value error").get(timeout=5)
        self.assertEqual(self.app.AsyncResult("value error").traceback, "where it was\nand why ü\n")
        with self.assertRaisesRegex(Exception, "no funds") as caught:
            self.app.AsyncResult("own error").get(timeout=5)
        self.assertEqual(type(caught.exception).__name__, "PaymentDeclined")
        with self.assertRaises(Exception) as caught:  # and not SystemExit itself
            self.app.AsyncResult("exit").get(timeout=5)
        self.assertEqual(type(caught.exception).__name__, "SystemExit")
        from billiard.exceptions import TimeLimitExceeded
        from celery.exceptions import TaskRevokedError

        with self.assertRaises(TaskRevokedError):
            self.app.AsyncResult("revoked").get(timeout=5)
        with self.assertRaises(TimeLimitExceeded) as caught:
            self.app.AsyncResult("hard limit").get(timeout=5)
        self.assertEqual(caught.exception.args, (30,))

    def test_a_retry_holds_its_reason(self):
        retry = self.app.AsyncResult("retry")
        self.assertEqual(retry.state, "RETRY")
        self.assertIsInstance(retry.result, ConnectionError)
        self.assertEqual(str(retry.result), "later")


def forget_results():
    """AsyncResults that exceptions still hold would reach for the server when it is gone."""
    import gc

    gc.collect()


def time_of(text):
    import datetime

    return datetime.datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    unittest.main()
