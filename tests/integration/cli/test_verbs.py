"""call, result, queues and purge against a real Redis; tasks are answered by the test itself."""
import base64
import json
import os
import pty
import subprocess
import threading
import time
import unittest

from support.servers import CELERIAC, RedisServer, celeriac, temporary_folder


def decode(message):
    """Headers and body of one element of a queue list."""
    envelope = json.loads(message)
    return envelope["headers"], json.loads(base64.b64decode(envelope["body"])), envelope["properties"]


class Answer(threading.Thread):
    """Takes the next call off the queue and stores what the test says as its result."""

    def __init__(self, redis, status, result, traceback=None):
        super().__init__(daemon=True)
        self.client, self.document = redis.client(), {"status": status, "result": result, "traceback": traceback,
                                                      "children": [], "date_done": "2026-11-22T10:00:00+00:00"}

    def run(self):
        _, message = self.client.brpop("celery", 30)
        task_id = json.loads(message)["headers"]["id"]
        text = json.dumps({**self.document, "task_id": task_id})
        self.client.setex("celery-task-meta-" + task_id, 60, text)
        self.client.publish("celery-task-meta-" + task_id, text)


def on_terminal(arguments, redis, answer=None, environment=None):
    """Runs a verb with a terminal as its standard input and output; returns status and what it showed."""
    master, terminal = pty.openpty()
    settings = {**os.environ, "TERM": "xterm", "CELERIAC_BROKER_URL": redis.url, **(environment or {})}
    settings.pop("NO_COLOR", None)
    settings.update({key: value for key, value in (environment or {}).items() if key == "NO_COLOR"})
    process = subprocess.Popen([CELERIAC, *arguments], stdin=terminal, stdout=terminal, stderr=terminal, env=settings)
    os.close(terminal)
    if answer is not None:
        os.write(master, answer.encode())
    shown = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:
            break  # the last holder of the terminal is gone
        if not part:
            break
        shown += part
    os.close(master)
    return process.wait(10), shown.decode().replace("\r\n", "\n")


class Verbs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-cli-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))

    def setUp(self):
        self.client = self.redis.client()
        self.addCleanup(self.client.close)
        self.client.flushall()

    def run_verb(self, *arguments, status=0, **options):
        done = celeriac(*arguments, redis=self.redis, **options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def sent(self, *arguments, queue="celery", **options):
        """What `call` with these arguments puts on the queue."""
        done = self.run_verb("call", *arguments, **options)
        headers, body, properties = decode(self.client.rpop(queue))
        self.assertEqual(done.stdout, headers["id"] + "\n")
        return headers, body, properties

    # --- call

    def test_words_are_json_when_they_parse_as_json_else_text(self):
        cases = {
            ("42",): [42], ("-7",): [-7], ("1.50",): [1.5], ("true",): [True], ("null",): [None], ("text",): ["text"],
            ('"42"',): ["42"], ("[1, {}]",): [[1, {}]], ("",): [""], ("é ü",): ["é ü"], ("007",): ["007"],
            ("123456789012345678901234567890",): [123456789012345678901234567890], ("{broken",): ["{broken"],
            ("1", "two", "[3]"): [1, "two", [3]], ("a=b",): ["a=b"],
        }
        for words, expected in cases.items():
            with self.subTest(words=words):
                _, (args, kwargs, _), _ = self.sent("a.b", *words)
                self.assertEqual((args, kwargs), (expected, {}))

    def test_unknown_flags_are_keyword_arguments(self):
        cases = [
            (["--percentage", "15", "--category", "electronics", "--dry-run"],
             {"percentage": 15, "category": "electronics", "dry_run": True}),
            (["--percentage=-1.5"], {"percentage": -1.5}),
            (["--percentage", "-15"], {"percentage": -15}),
            (["--name=", "--text=--not-a-flag"], {"name": "", "text": "--not-a-flag"}),
            (["--dry-run", "--deep", "[1]"], {"dry_run": True, "deep": [1]}),
            (["--kwargs", '{"timeout": 3, "json": null}', "--more", "x"], {"timeout": 3, "json": None, "more": "x"}),
        ]
        for words, expected in cases:
            with self.subTest(words=words):
                _, (args, kwargs, _), _ = self.sent("a.b", *words)
                self.assertEqual((args, kwargs), ([], expected))

    def test_behind_two_dashes_everything_is_an_argument(self):
        _, (args, kwargs, _), _ = self.sent("a.b", "1", "--dry-run", "--", "2", "--loud", "--wait")
        self.assertEqual((args, kwargs), ([1, 2, "--loud", "--wait"], {"dry_run": True}))
        headers, (args, _, _), _ = self.sent("--", "a.b", "1")
        self.assertEqual((headers["task"], args), ("a.b", [1]))
        _, (args, _, _), _ = self.sent("a.b", "--args", "[1, 2]", "3")
        self.assertEqual(args, [1, 2, 3])

    def test_a_call_is_sent_once_within_the_window(self):
        for _ in range(3):
            self.assertEqual(self.run_verb("call", "a.b", "--id", "my-id", "--dedupe", "1h").stdout, "my-id\n")
        self.assertEqual(self.client.llen("celery"), 1)
        self.assertGreater(self.client.pttl("celeriac:sent:{celery}:my-id"), 3_500_000)
        self.assertIn("window", self.run_verb("call", "a.b", "--dedupe", "1s", status=78).stderr)
        self.assertIn("duration", self.run_verb("call", "a.b", "--dedupe", "soon", status=2).stderr)

    def test_a_call_that_is_not_confirmed_was_sent(self):
        done = self.run_verb("call", "a.b", "--id", "my-id", "--confirm-replicas", "1", "--timeout", "500ms", status=69)
        self.assertEqual(done.stdout, "my-id\n")
        self.assertIn("It was sent", done.stderr)
        self.assertIn("0 of 1 replicas", done.stderr)
        self.assertEqual(self.client.llen("celery"), 1)
        self.run_verb("call", "a.b", "--confirm-replicas", "many", status=2)

    def test_a_disk_is_confirmed_or_nothing_is_sent(self):
        known = tuple(map(int, self.client.info("server")["redis_version"].split(".")[:2])) >= (7, 2)
        done = self.run_verb("call", "a.b", "--confirm-disk", status=69 if known else 78)
        self.assertEqual(self.client.llen("celery"), 1 if known else 0)
        self.assertIn("It was sent" if known else "Not sent", done.stderr)

    def test_options_of_the_call(self):
        headers, _, properties = self.sent("a.b", "--queue", "mail", "--priority", "2", "--id", "my-id", queue="mail")
        self.assertEqual((headers["id"], properties["priority"]), ("my-id", 2))
        self.assertEqual(properties["delivery_info"]["routing_key"], "mail")
        headers, _, _ = self.sent("a.b", "--ignore-result", "--header", "tenant=blue", "--header", "shard=7")
        self.assertEqual((headers["ignore_result"], headers["tenant"], headers["shard"]), (True, "blue", 7))
        headers, _, _ = self.sent("a.b", "--priority=9", queue=b"celery\x06\x169")
        before = time.time()
        headers, _, _ = self.sent("a.b", "--countdown", "10min", "--expires", "2h")
        self.assert_about(headers["eta"], before + 600)
        self.assert_about(headers["expires"], before + 7200)
        headers, _, _ = self.sent("a.b", "--eta", "2030-01-31T12:00:00+02:00", "--expires=2030-02-01")
        self.assertEqual(headers["eta"], "2030-01-31T10:00:00+00:00")
        self.assertEqual(headers["expires"], "2030-02-01T00:00:00+00:00")

    def assert_about(self, text, moment):
        import datetime

        self.assertLess(abs(datetime.datetime.fromisoformat(text).timestamp() - moment), 10)

    def test_serializers_and_compression(self):
        import msgpack
        import zlib

        self.run_verb("call", "a.b", "é", "--serializer", "msgpack", "--compression", "zlib")
        envelope = json.loads(self.client.rpop("celery"))
        self.assertEqual(envelope["content-type"], "application/x-msgpack")
        self.assertEqual(envelope["headers"]["compression"], "application/x-gzip")
        body = msgpack.unpackb(zlib.decompress(base64.b64decode(envelope["body"])))
        self.assertEqual(body[0], ["é"])

    def test_json_prints_the_id_for_programs(self):
        done = self.run_verb("call", "a.b", "--id", 'with "quotes"', "--json")
        self.assertEqual(json.loads(done.stdout), {"id": 'with "quotes"'})

    def test_key_prefix_and_default_queue_come_from_the_configuration(self):
        path = os.path.join(self.folder, "prefix.ini")
        with open(path, "w") as file:
            file.write("[celeriac]\nkey_prefix = shop:\ndefault_queue = orders\n")
        self.run_verb("call", "a.b", "--config", path)
        self.assertEqual(self.client.llen("shop:orders"), 1)

    def test_wait_prints_the_result(self):
        cases = [(42, "42\n"), ("plain text\nwith a line", "plain text\nwith a line\n"), (None, "null\n"),
                 ({"a": [1, 2.5]}, '{"a": [1, 2.5]}\n')]
        for value, shown in cases:
            with self.subTest(value=value):
                Answer(self.redis, "SUCCESS", value).start()
                self.assertEqual(self.run_verb("call", "a.b", "--wait", "--timeout", "20s").stdout, shown)

    def test_wait_tells_how_the_task_failed(self):
        exception = {"exc_type": "ValueError", "exc_message": ["no such\norder"], "exc_module": "builtins"}
        Answer(self.redis, "FAILURE", exception).start()
        done = self.run_verb("call", "a.b", "--id", "some-id", "--wait=20s", status=1)
        self.assertEqual(done.stdout, "")
        self.assertEqual(done.stderr, "celeriac: task some-id ended as FAILURE: ValueError: no such\\norder\n")
        Answer(self.redis, "FAILURE", exception).start()
        done = self.run_verb("call", "a.b", "--wait=20s", "--json", status=1)
        self.assertEqual(json.loads(done.stdout)["result"], exception)

    def test_a_wait_that_takes_too_long_is_status_69(self):
        done = self.run_verb("call", "a.b", "--id", "slow", "--wait=200ms", status=69)
        self.assertRegex(done.stderr, r"\Aceleriac: .*slow.*\n\Z")

    # --- result

    def store(self, task_id, status, result, traceback=None):
        self.client.set("celery-task-meta-" + task_id, json.dumps(
            {"status": status, "result": result, "traceback": traceback, "children": [], "task_id": task_id,
             "date_done": "2026-11-22T10:00:00+00:00"}))

    def test_result_shows_state_value_and_traceback(self):
        self.store("good", "SUCCESS", {"total": "1.10"})
        done = self.run_verb("result", "good")
        self.assertEqual(done.stdout, 'id         good\nstate      SUCCESS\nvalue      {"total": "1.10"}\n'
                                      "done       2026-11-22T10:00:00+00:00\n")
        self.store("bad", "FAILURE", {"exc_type": "KeyError", "exc_message": ["x"], "exc_module": "builtins"},
                   "Traceback (most recent call last):\n  here")
        done = self.run_verb("result", "bad", status=1)
        self.assertIn("state      FAILURE\nerror      KeyError", done.stdout)
        self.assertTrue(done.stdout.endswith("Traceback (most recent call last):\n  here\n"))

    def test_result_of_an_unknown_task_is_pending_and_status_1(self):
        done = self.run_verb("result", "nobody", status=1)
        self.assertEqual(done.stdout, "id         nobody\nstate      PENDING\n")
        done = self.run_verb("result", "nobody", "--json", status=1)
        self.assertEqual(json.loads(done.stdout), {"status": "PENDING", "result": None, "task_id": "nobody"})

    def test_result_prints_the_document_for_programs(self):
        self.store("good", "PROGRESS", {"percent": 50})
        document = json.loads(self.run_verb("result", "--json", "good").stdout)
        self.assertEqual((document["status"], document["result"]), ("PROGRESS", {"percent": 50}))

    def test_result_waits_when_asked(self):
        timer = threading.Timer(0.3, lambda: (self.store("later", "SUCCESS", 1), self.client.publish(
            "celery-task-meta-later", self.client.get("celery-task-meta-later"))))
        timer.start()
        self.assertIn("SUCCESS", self.run_verb("result", "later", "--wait=20s").stdout)
        timer.join()
        self.run_verb("result", "never", "--wait=200ms", status=69)

    # --- queues and purge

    def test_queues_counts_what_waits(self):
        for arguments in (["a.b"], ["a.b", "--priority", "9"], ["a.b", "--queue", "mail", "--countdown", "1ms"]):
            self.run_verb("call", *arguments)
        time.sleep(0.05)  # so that the age of the delayed one is not 0
        rows = json.loads(self.run_verb("queues", "--json", "celery", "mail", "empty").stdout)
        self.assertEqual([row["name"] for row in rows], ["celery", "empty", "mail"])
        self.assertEqual([row["waiting"] for row in rows], [2, 0, 1])
        self.assertEqual([(row["in_flight"], row["delayed"], row["dead"]) for row in rows], [(0, 0, 0)] * 3)
        self.assertIsNone(rows[0]["oldest_age"])
        self.assertGreater(rows[2]["oldest_age"], 0.04)

    def test_queues_finds_those_that_were_announced(self):
        self.client.sadd("_kombu.binding.mail", "mail\x06\x16\x06\x16mail")
        rows = json.loads(self.run_verb("queues", "--json").stdout)
        self.assertIn("mail", [row["name"] for row in rows])

    def test_queues_is_a_table_for_people(self):
        self.run_verb("call", "a.b")
        self.assertEqual(self.run_verb("queues", "celery").stdout,
                         "queue   waiting  in flight  delayed  dead  oldest\n"
                         "celery        1          0        0     0       -\n")
        status, shown = on_terminal(["queues", "celery"], self.redis)
        self.assertEqual(status, 0)
        self.assertIn("\x1b[1mqueue\x1b[0m", shown)
        _, shown = on_terminal(["queues", "celery"], self.redis, environment={"NO_COLOR": "1"})
        self.assertNotIn("\x1b", shown)

    def test_purge_deletes_what_waits(self):
        for arguments in (["a.b"], ["a.b", "--priority", "6"], ["a.b", "--queue", "mail"]):
            self.run_verb("call", *arguments)
        done = self.run_verb("purge", "--force", "--json", "celery")
        self.assertEqual(json.loads(done.stdout), [{"name": "celery", "deleted": 2}])
        self.assertEqual((self.client.llen("celery"), self.client.llen("mail")), (0, 1))

    def test_purge_asks_on_a_terminal(self):
        self.run_verb("call", "a.b")
        status, shown = on_terminal(["purge", "celery"], self.redis, "n\n")
        self.assertEqual(status, 1)
        self.assertIn("celery? [y/N]", shown)
        self.assertIn("nothing was deleted", shown)
        self.assertEqual(self.client.llen("celery"), 1)
        status, shown = on_terminal(["purge", "celery"], self.redis, "y\n")
        self.assertEqual(status, 0)
        self.assertEqual(self.client.llen("celery"), 0)

    def test_purge_without_a_terminal_needs_force(self):
        self.run_verb("call", "a.b")
        done = self.run_verb("purge", "celery", status=2)
        self.assertIn("--force", done.stderr)
        self.assertEqual(self.client.llen("celery"), 1)

    def test_what_came_from_elsewhere_cannot_steer_the_terminal(self):
        self.store("evil", "SUCCESS", "\x1b]0;title\x07\x1b[2J")
        _, shown = on_terminal(["result", "evil"], self.redis, environment={"NO_COLOR": "1"})
        self.assertNotIn("\x1b", shown)
        self.assertIn("\\x1b[2J", shown)


if __name__ == "__main__":
    unittest.main()
