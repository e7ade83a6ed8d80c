"""Every command of `celery inspect`, asked by Celery's client, against what a Python worker has answered."""
import json
import re
import subprocess
import time
import unittest

from integration.control.asking import NODE, AskingTest, recorded
from integration.worker.calls import iso
from support.servers import wait_until

REQUEST_KEYS = {"id", "name", "args", "kwargs", "type", "hostname", "time_start", "acknowledged", "delivery_info",
                "worker_pid"}
QUEUE_KEYS = set(recorded("c-526-active-queues")[0])


class Inspect(AskingTest):
    def start_busy(self):
        """One slot: a task runs, another one has its time still to come."""
        self.start("-c", "1")
        scheduled = self.send("tests.add", 5, 5, eta=iso(600), priority=3, queue="celery")
        wait_until(lambda: self.delayed() == 1, 10, "it is parked")
        active = self.send("tests.sleep", 60000, argsrepr="(sixty,)")
        wait_until(lambda: self.ask("active"), 10, "it runs")
        return active, scheduled

    def test_ping_clock_memory(self):
        self.start()
        self.assertEqual(self.ask("ping"), recorded("c-526-ping"))
        clock = self.ask("clock")
        self.assert_shape("c-526-clock", clock)
        self.assertGreater(clock["clock"], 0)
        self.assertGreater(self.ask("clock")["clock"], clock["clock"])
        self.assertRegex(self.ask("memsample"), r"^\d+\.\d\dMB$")
        self.assertIsNone(self.ask("memdump"))
        self.assertIn("error", self.ask("objgraph"))

    def test_active(self):
        id, _ = self.start_busy()
        (request,) = self.ask("active", safe=None)
        self.assert_shape("c-526-active", [request], loose=("[].delivery_info.redelivered",))
        self.assertEqual(set(request), REQUEST_KEYS)
        self.assertEqual((request["id"], request["name"], request["type"]), (id, "tests.sleep", "tests.sleep"))
        self.assertEqual((request["args"], request["kwargs"]), ([60000], {}))
        self.assertEqual((request["hostname"], request["acknowledged"]), (NODE, True))
        self.assertEqual(request["delivery_info"],
                         {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": False})
        self.assertLess(abs(time.time() - request["time_start"]), 30)
        with open(f"/proc/{request['worker_pid']}/cmdline") as file:
            self.assertIn("--child", file.read())
        (safe,) = self.ask("active", safe=True)
        self.assertEqual((safe["args"], safe["kwargs"]), ("(sixty,)", "{}"))
        self.assertEqual(self.ask("dump_active"), self.ask("active"))

    def test_scheduled(self):
        _, id = self.start_busy()
        (entry,) = self.ask("scheduled")
        self.assert_shape("c-526-scheduled", [entry], loose=("[].request.delivery_info.redelivered",))
        self.assertRegex(entry["eta"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$")
        self.assertEqual((entry["priority"], entry["request"]["id"]), (6, id))
        self.assertEqual((entry["request"]["args"], entry["request"]["delivery_info"]["priority"]), ([5, 5], 3))
        self.assertEqual(set(entry["request"]), REQUEST_KEYS)
        self.assertEqual(self.ask("dump_schedule"), self.ask("scheduled"))

    def test_many_scheduled_calls_of_several_queues(self):
        self.start("-c", "1", "-Q", "one,two")
        ids = {self.send("tests.add", n, 1, eta=iso(600 + n), queue=("one", "two")[n % 2]) for n in range(300)}
        wait_until(lambda: self.delayed("one") + self.delayed("two") == 300, 20, "they are parked")
        self.assertEqual({entry["request"]["id"] for entry in self.ask("scheduled")}, ids)

    def test_query_task(self):
        id, _ = self.start_busy()
        found = self.ask("query_task", ids=[id, "no-such"])
        self.assertEqual(list(found), [id])
        state, request = found[id]
        self.assertEqual((state, request["id"], set(request)), ("active", id, REQUEST_KEYS))
        self.assertEqual(self.ask("query_task", ids="no-such"), {})
        self.assertIn("TypeError", self.ask("query_task")["error"])

    def test_reserved(self):
        """A quick task makes the worker fetch ahead of need; what it holds then waits behind a long one."""
        self.start("-c", "1")
        for _ in range(200):
            self.send("tests.noop")
        self.wait_idle()
        seen = []
        def reserved():
            self.send("tests.sleep", 50)
            for _ in range(20):
                self.send("tests.noop", kwargs={})
            seen.extend(self.ask("reserved"))
            return seen
        wait_until(reserved, 20, "something is held")
        request = seen[0]
        self.assert_shape("c-526-reserved", [request],
                          loose=("[].delivery_info.redelivered", "[].args[]", "[].args"))
        self.assertEqual(set(request), REQUEST_KEYS)
        self.assertIsNone(request["time_start"])
        self.assertIsNone(request["worker_pid"])
        self.assertFalse(request["acknowledged"])

    def test_arguments_that_json_cannot_show(self):
        self.start("-c", "2")
        large = self.send("tests.echo", "x" * 1000000, argsrepr="('xxx...',)")
        self.send("tests.sleep", 60000)
        wait_until(lambda: self.ask("active"), 10, "it runs")
        self.wait(large)
        self.assertEqual(len(self.ask("active")), 1)
        huge = self.send("tests.sleep", 60000, "y" * 2000000, argsrepr="('yyy...',)")
        self.wait(huge)  # too many arguments: it fails, the worker goes on
        self.assertEqual(self.ask("ping"), {"ok": "pong"})

    def test_registered(self):
        self.start()
        names = self.ask("registered", taskinfoitems=[])
        self.assertEqual(names, sorted(names))
        self.assertIn("tests.add", names)
        self.assertEqual([name for name in names if name.startswith("celery.")], [])
        self.assertIn("tests.add [name=tests.add]", self.ask("registered", taskinfoitems=["name"]))
        self.assertIn("tests.sleep_early [name=tests.sleep_early acks_late=False]",
                      self.ask("registered", taskinfoitems=["name", "acks_late", "nonsense", 7]))
        self.assertEqual(self.ask("dump_tasks"), names)

    def test_active_queues(self):
        self.start("-Q", "celery,slow")
        celery, slow = self.ask("active_queues")
        self.assertEqual(celery, recorded("c-526-active-queues")[0])
        self.assertEqual(set(slow), QUEUE_KEYS)
        self.assertEqual((slow["name"], slow["exchange"]["name"], slow["routing_key"]), ("slow",) * 3)

    def test_stats(self):
        worker = self.start("-c", "2")
        for n in range(5):
            self.send("tests.add", n, 1)
        self.wait_idle()
        stats = self.ask("stats")
        self.assert_shape("c-526-stats", stats, extra=(".pool.implementation",),
                          loose=(".total", ".broker.port", ".broker.heartbeat", ".broker.transport_options"))
        self.assertEqual((stats["total"], stats["pid"]), ({"tests.add": 5}, worker.pid))
        self.assertEqual((stats["pool"]["max-concurrency"], len(stats["pool"]["processes"])), (2, 2))
        self.assertEqual(stats["broker"]["hostname"], self.server.socket)

    def test_conf_and_report_show_no_password(self):
        self.server.client().config_set("requirepass", "geheim")
        self.server.options["requirepass"] = "geheim"
        self.app = self.client(broker_url=f"redis://:geheim@{self.server.socket}", result_backend=None)
        self.app = self.client()
        url = f"redis+socket://:geheim@{self.server.socket}"
        self.app.conf.broker_url = url
        self.worker("-n", NODE, "-b", url)
        wait_until(lambda: self.inspect(timeout=1).ping(), 20, "the node answers")
        conf = self.ask("conf", with_defaults=False)
        for key in ("worker_hijack_root_logger", "worker_log_color", "accept_content", "enable_utc", "timezone",
                    "broker_url", "result_backend", "broker_heartbeat", "deprecated_settings", "include"):
            self.assertIn(key, conf)
        self.assertEqual(set(recorded("c-526-conf")) - set(conf), set())
        report = self.ask("report")["ok"]
        self.assertIn("celeriac", report)
        for text in (json.dumps(conf), report, json.dumps(self.ask("stats"))):
            self.assertNotIn("geheim", text)

    def test_revoked_and_hello(self):
        self.start()
        self.assertEqual(self.ask("revoked"), [])
        self.app.control.revoke("00000077-0072-4000-8000-000000000000", reply=True, limit=1, timeout=5)
        wait_until(lambda: self.ask("revoked") == recorded("c-526-revoked"), 5, "it is listed")
        hello = self.ask("hello", from_node="other@host.example", revoked={})
        self.assert_shape("c-526-hello", hello)
        self.assertIsNone(self.ask("hello", from_node=NODE, revoked={}))
        self.ask("hello", from_node="other@host.example", revoked={"taken": [1.5, "taken"], "": 1})
        wait_until(lambda: "taken" in self.ask("revoked"), 5, "it is taken over")

    def test_flower_finds_what_it_indexes(self):
        """What Flower's pages index without a default (all eight questions at once)."""
        _, scheduled = self.start_busy()
        inspect = self.inspect()
        answers = {method: getattr(inspect, method)()[NODE] for method in
                   ("stats", "active_queues", "registered", "scheduled", "active", "reserved", "revoked", "conf")}
        self.assertIsInstance(answers["stats"]["broker"], dict)
        self.assertIsInstance(answers["stats"]["total"], dict)
        for queue in answers["active_queues"]:
            for key in ("name", "exclusive", "durable", "routing_key", "no_ack", "alias", "queue_arguments",
                        "binding_arguments", "auto_delete"):
                queue[key]
        for task in answers["active"]:
            for key in ("name", "id", "acknowledged", "worker_pid"):
                task[key]
        for entry in answers["scheduled"]:
            for key in ("name", "id", "args", "kwargs"):
                entry["request"][key]
        self.assertEqual([entry["request"]["id"] for entry in answers["scheduled"]], [scheduled])

    def test_patterns_and_destinations(self):
        self.start()
        self.start(node="v2@host.example")
        def nodes(**options):
            replies = self.app.control.broadcast("ping", reply=True, timeout=1, **options)
            return sorted(node for reply in replies for node in reply)
        both = ["v2@host.example", NODE]
        self.assertEqual(nodes(), both)
        self.assertEqual(nodes(pattern="*@host.example", matcher="glob"), both)
        self.assertEqual(nodes(pattern="w*@host.example", matcher="glob"), [NODE])
        self.assertEqual(nodes(pattern=r"[vx]\d@", matcher="pcre"), ["v2@host.example"])
        self.assertEqual(nodes(pattern="host", matcher="pcre"), [])
        self.assertEqual(nodes(destination=[NODE, "nobody@host"]), [NODE])
        self.assertEqual(nodes(destination=["nobody@host"]), [])

    def test_the_command_line_of_celery(self):
        self.start()
        def run(*arguments):
            done = subprocess.run(["/usr/bin/python3", "-m", "celery", "-b", self.server.url, *arguments],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            return done.stdout
        self.assertRegex(run("status"), rf"{re.escape(NODE)}: .*OK")
        self.assertIn("1 node online.", run("status"))
        for command in ("active", "active_queues", "clock", "conf", "ping", "registered", "report", "reserved",
                        "revoked", "scheduled", "stats"):
            with self.subTest(command=command):
                self.assertIn(f"{NODE}: OK", run("inspect", command))


if __name__ == "__main__":
    unittest.main()
