"""Remote control: the replies of one worker under the name of its node."""
import os
import time

from conformance.rig import SLOTS, Case, fixed, needs, reference_fails, wait_until

EXCHANGE = {"arguments": None, "auto_delete": False, "delivery_mode": None, "durable": True, "name": "celery", "no_declare": False,
            "passive": False, "type": "direct"}
QUEUE = {"alias": None, "auto_delete": False, "binding_arguments": None, "bindings": [], "consumer_arguments": None, "durable": True,
         "exchange": EXCHANGE, "exclusive": False, "expires": None, "max_length": None, "max_length_bytes": None,
         "max_priority": None, "message_ttl": None, "name": "celery", "no_ack": False, "no_declare": None,
         "queue_arguments": None, "routing_key": "celery"}
CONF = ("worker_hijack_root_logger", "worker_log_color", "accept_content", "enable_utc", "timezone", "broker_url", "result_backend",
        "broker_heartbeat", "deprecated_settings", "include")
REQUEST = {"id", "name", "args", "kwargs", "type", "hostname", "time_start", "acknowledged", "delivery_info", "worker_pid"}


class ControlCase(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.inspect = cls.app.control.inspect(timeout=10, limit=1)  # no longer than until the one has answered
        (cls.node, _), = cls.inspect.ping().items()

    def reply(self, command, *args, **kwargs):
        """The only reply to `command`."""
        replies = getattr(self.inspect, command)(*args, **kwargs)
        self.assertEqual(list(replies), [self.node])
        return replies[self.node]

    def running(self, result):
        """What `active` says of a task as soon as it runs."""
        def found():
            return [info for info in self.reply("active") if info["id"] == result.id]

        return wait_until(found, 20, f"{result.id} runs")[0]


class Inspect(ControlCase):
    def test_ping(self):
        self.assertEqual(self.reply("ping"), {"ok": "pong"})

    def test_only_one_answers(self):
        self.assertEqual(self.app.control.ping(timeout=1), [{self.node: {"ok": "pong"}}])

    def test_only_who_is_asked(self):
        self.assertIsNone(self.app.control.inspect(destination=["nobody@nowhere"], timeout=0.5).ping())
        self.assertEqual(self.app.control.inspect(destination=[self.node], timeout=10, limit=1).ping(), {self.node: {"ok": "pong"}})

    def test_a_pattern(self):
        asked = self.app.control.inspect(pattern=self.node[:3] + "*", matcher="glob", timeout=10, limit=1)
        self.assertEqual(asked.ping(), {self.node: {"ok": "pong"}})
        self.assertIsNone(self.app.control.inspect(pattern="nobody*", matcher="glob", timeout=0.5).ping())

    def test_clock(self):
        self.assertGreater(self.reply("clock")["clock"], 0)

    def test_registered(self):
        names = self.reply("registered")
        self.assertIn("t.integration.tasks.add", names)
        self.assertIn("auto_retry_class_task", names)
        self.assertEqual([name for name in names if name.startswith("celery.")], [])

    def test_registered_with_an_argument(self):
        texts = self.reply("registered", "name")
        self.assertIn("t.integration.tasks.add [name=t.integration.tasks.add]", texts)
        for text in texts:
            name = text.split(" ")[0]
            self.assertEqual(text, f"{name} [name={name}]")

    def test_all_tasks_are_registered(self):
        own = {name for name in self.app.tasks if not name.startswith("celery.")}
        self.assertEqual(set(self.reply("registered")), own)

    def test_active_queues(self):
        self.assertEqual(self.reply("active_queues"), [QUEUE])

    def test_active(self):
        result = self.tasks.sleeping.delay(1.5)
        info = self.running(result)
        self.assertEqual(set(info), REQUEST)
        self.assertEqual((info["name"], info["type"]), ("t.integration.tasks.sleeping",) * 2)
        self.assertEqual((info["args"], info["kwargs"], info["hostname"], info["acknowledged"]), ([1.5], {}, self.node, True))
        self.assertLess(abs(info["time_start"] - time.time()), 20)
        os.kill(info["worker_pid"], 0)
        self.get(result)

    @reference_fails("says null")
    def test_active_redelivered(self):
        result = self.tasks.sleeping.delay(1)
        self.assertEqual(self.running(result)["delivery_info"],
                         {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": False})
        self.get(result)

    def test_active_arguments(self):
        result = self.tasks.sleeping.apply_async((1,), {"a": {"b": [1, "é"]}})
        info = self.running(result)
        self.assertEqual((info["args"], info["kwargs"]), ([1], {"a": {"b": [1, "é"]}}))
        self.get(result)

    def test_none_is_active(self):
        wait_until(lambda: self.reply("active") == [], 20, "nothing runs")

    def test_reserved(self):
        self.assertIsInstance(self.reply("reserved"), list)

    def test_scheduled(self):
        result = self.tasks.add.apply_async((1, 2), countdown=600)

        def found():
            return [entry for entry in self.reply("scheduled") if entry["request"]["id"] == result.id]

        entry = wait_until(found, 20, "it is scheduled")[0]
        self.assertEqual(entry["priority"], 6)
        self.assertRegex(entry["eta"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$")
        request = entry["request"]
        self.assertEqual(set(request), REQUEST)
        self.assertEqual((request["name"], request["args"], request["kwargs"]), ("t.integration.tasks.add", [1, 2], {}))
        self.assertEqual((request["time_start"], request["acknowledged"], request["worker_pid"]), (None, False, None))
        result.revoke()

    def test_query_an_unknown_task(self):
        self.assertEqual(self.reply("query_task", "unheard-of"), {})

    def test_query_a_running_task(self):
        result = self.tasks.sleeping.delay(1)
        self.running(result)
        found = self.reply("query_task", result.id)
        self.assertEqual(list(found), [result.id])
        state, info = found[result.id]
        self.assertEqual((state, info["id"]), ("active", result.id))
        self.get(result)

    def test_stats(self):
        stats = self.reply("stats")
        self.assertEqual(stats["pool"]["max-concurrency"], SLOTS)
        self.assertEqual(len(stats["pool"]["processes"]), SLOTS)
        self.assertGreaterEqual(stats["uptime"], 0)
        os.kill(stats["pid"], 0)
        self.assertIsInstance(stats["broker"], dict)

    def test_stats_count_tasks(self):
        self.get(self.tasks.xsum.delay([1]))
        before = self.reply("stats")["total"]["t.integration.tasks.xsum"]
        self.get(self.tasks.xsum.delay([1]))
        wait_until(lambda: self.reply("stats")["total"]["t.integration.tasks.xsum"] == before + 1, 10, "one more is counted")

    def test_report(self):
        report = self.reply("report")
        self.assertEqual(list(report), ["ok"])
        self.assertIsInstance(report["ok"], str)

    def test_revoked(self):
        ids = [fixed(self.tasks.add.s(1, 2)).options["task_id"] for _ in range(2)]
        self.app.control.revoke(ids, reply=True, timeout=10, limit=1)
        self.assertLessEqual(set(ids), set(self.reply("revoked")))

    def test_conf(self):
        conf = self.reply("conf", with_defaults=True)
        self.assertEqual([key for key in CONF if key not in conf], [])


class Commands(ControlCase):
    def answer(self, command, **arguments):
        replies = self.app.control.broadcast(command, arguments=arguments, reply=True, timeout=10, limit=1)
        self.assertEqual([list(reply) for reply in replies], [[self.node]])
        return replies[0][self.node]

    def test_revoke(self):
        answer = self.answer("revoke", task_id="some-id")
        self.assertEqual(list(answer), ["ok"])
        self.assertIn("some-id", answer["ok"])
        self.assertIn("flagged as revoked", answer["ok"])

    def test_terminate_what_is_unknown(self):
        self.assertEqual(list(self.answer("revoke", task_id="unheard-of", terminate=True)), ["ok"])

    def test_an_unknown_command(self):
        answer = self.answer("no_such_command")
        self.assertEqual(list(answer), ["error"])
        self.assertIn("no_such_command", answer["error"])

    def test_events_on_and_off(self):
        self.answer("enable_events")
        self.assertEqual(self.answer("enable_events"), {"ok": "task events already enabled"})
        self.assertEqual(self.answer("disable_events"), {"ok": "task events disabled"})
        self.assertEqual(self.answer("disable_events"), {"ok": "task events already disabled"})

    def test_a_rate_limit_of_an_unknown_task(self):
        self.assertEqual(self.answer("rate_limit", task_name="unheard.of", rate_limit="1/s"), {"error": "unknown task"})

    def test_a_time_limit(self):
        name = "t.integration.tasks.mul"
        self.assertEqual(self.answer("time_limit", task_name=name, soft=60, hard=90), {"ok": "time limits set successfully"})
        self.assertEqual(self.answer("time_limit", task_name="unheard.of", soft=60, hard=90), {"error": "unknown task"})

    def test_a_queue_more_and_less(self):
        queue = self.key("extra")
        self.assertEqual(self.answer("add_consumer", queue=queue), {"ok": f"add consumer {queue}"})
        self.gets(self.tasks.add.s(1, 2), 3, queue=queue)
        self.assertEqual(sorted(found["name"] for found in self.reply("active_queues")), sorted(["celery", queue]))
        self.assertEqual(self.answer("cancel_consumer", queue=queue), {"ok": f"no longer consuming from {queue}"})
        wait_until(lambda: [found["name"] for found in self.reply("active_queues")] == ["celery"], 10, "one queue is left")

    def test_without_a_reply(self):
        signature = fixed(self.tasks.add.s(1, 2))
        self.app.control.revoke(signature.options["task_id"])
        wait_until(lambda: signature.options["task_id"] in self.reply("revoked"), 10, "it is revoked")

    @needs("5.6")
    def test_revoke_by_stamped_headers(self):
        answer = self.answer("revoke_by_stamped_headers", headers={"myheader": ["myvalue"]})
        self.assertEqual(answer, {"ok": "headers {'myheader': ['myvalue']} flagged as revoked, but not terminated"})
