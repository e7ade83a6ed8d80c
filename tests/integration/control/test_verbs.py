"""celeriac inspect, control and status, to our workers and to Celery's."""
import json
import os
import re
import unittest

from integration.control.asking import NODE, AskingTest
from support.servers import ROOT, Daemon, celeriac, wait_until

PYTHON = "py@host.example"


class Verbs(AskingTest):
    def run_verb(self, *arguments, status=0, error=""):
        done = celeriac(*arguments, redis=self.server)
        self.assertEqual((done.returncode, done.stderr), (status, error), done.stdout)
        return done.stdout

    def json(self, *arguments, **options):
        return json.loads(self.run_verb(*arguments, "--json", **options))

    def start_python(self):
        worker = Daemon(["/usr/bin/python3", "-W", "ignore", "-m", "celery", "-A", "pytasks", "--workdir",
                         os.path.join(ROOT, "tests", "interop"), "worker", "-l", "info", "-c", "1", "-n", PYTHON, "-Q",
                         "python"],
                        self.folder, "python", {"CELERY_BROKER_URL": self.server.url,
                                                "CELERY_RESULT_BACKEND": self.server.url}, ready="ready.")
        self.addCleanup(worker.stop)
        worker.start()
        wait_until(lambda: self.app.control.inspect(destination=[PYTHON], timeout=1).ping(), 20, "Celery's answers")
        return worker

    def test_nobody_is_there(self):
        nobody = "celeriac: no node listens\n"
        self.run_verb("status", status=1, error=nobody)
        self.run_verb("inspect", "ping", status=1, error=nobody)
        self.assertEqual(self.json("inspect", "ping", status=1), {})
        self.assertEqual(self.run_verb("control", "shutdown", status=1), "sent to 0 nodes\n")
        self.assertEqual(self.redis.keys("*"), [])

    def test_both_kinds_of_workers(self):
        ours = self.start("-c", "2")
        python = self.start_python()
        self.assertEqual(self.json("status"), {node: {"ok": "pong"} for node in (PYTHON, NODE)})
        self.assertRegex(self.run_verb("status"), rf"(?s)^node +answer\n{PYTHON} +pong\n{NODE} +pong\n$")
        self.assertEqual(list(self.json("inspect", "ping", "-d", PYTHON)), [PYTHON])
        self.assertEqual(list(self.json("inspect", "ping", "--destination", f"{PYTHON},{NODE}")), [PYTHON, NODE])
        stats = self.json("inspect", "stats")
        self.assertEqual(stats[NODE]["pid"], ours.pid)
        self.assertEqual(set(stats[PYTHON]) - set(stats[NODE]), set())
        self.assertIn("pytasks.echo", self.run_verb("inspect", "registered"))
        self.assertRegex(self.run_verb("inspect", "registered", "name"), r"tests\.add \[name=tests\.add\]")
        queues = self.run_verb("inspect", "active_queues")
        self.assertRegex(queues, rf"{PYTHON} +python +")
        self.assertRegex(queues, rf"{NODE} +celery +celery +direct +celery")
        self.assertEqual(self.json("control", "enable_events"), {node: {"ok": "task events enabled"} for node in (PYTHON, NODE)})
        self.assertIn("task events already enabled", self.run_verb("control", "enable_events"))
        self.assertEqual(self.json("control", "heartbeat"), {PYTHON: None, NODE: None})
        self.assertEqual(self.run_verb("control", "shutdown"), "sent to 2 nodes\n")
        self.assertEqual((ours.wait(), python.wait()), (0, 0))
        wait_until(lambda: not self.redis.keys("*reply*"), 5, "no list of replies stays")

    def test_what_runs_waits_and_is_ended(self):
        self.start("-c", "1")
        late = self.send("tests.add", 5, 5, eta="2099-01-01T00:00:00+00:00")
        wait_until(lambda: self.delayed() == 1, 10, "it is parked")
        id = self.send("tests.sleep", 60000)
        wait_until(lambda: self.json("inspect", "active")[NODE], 10, "it runs")
        self.assertRegex(self.run_verb("inspect", "active"), rf"{NODE} +{id} +tests\.sleep +\[60000\] +\{{\}} +\d+ +\d")
        self.assertRegex(self.run_verb("inspect", "scheduled"), rf"{NODE} +2099-01-01T00:00:00\+00:00 +{late} +tests\.add +\[5, 5\]")
        self.assertRegex(self.run_verb("inspect", "query_task", id, "x"), rf"{NODE} +{id} +active +tests\.sleep")
        self.assertRegex(self.run_verb("control", "time_limit", "tests.sleep", "5", "10"), "time limits set successfully")
        self.assertRegex(self.run_verb("control", "revoke", "--terminate", id), f"terminate: {id}")
        self.assertEqual(self.wait(id)["status"], "REVOKED")
        self.assertRegex(self.run_verb("control", "terminate", "SIGKILL", "gone"), "terminate: tasks unknown")
        self.assertRegex(self.run_verb("control", "revoke_by_stamped_headers", "tenant=a"), r"headers \{'tenant': \['a'\]\} flagged")
        self.assertEqual(set(self.json("inspect", "revoked")[NODE]), {id, "gone"})
        self.assertRegex(self.run_verb("inspect", "revoked"), rf"{NODE} +gone")
        self.assertRegex(self.run_verb("inspect", "clock"), rf"{NODE} +\d+")
        self.assertRegex(self.run_verb("inspect", "conf"), rf"{NODE} +worker_concurrency +1")
        self.assertRegex(self.run_verb("inspect", "stats"), rf"{NODE} +\d+ ")
        self.assertRegex(self.run_verb("inspect", "memsample"), rf"{NODE} +[\d.]+MB")
        self.assertRegex(self.run_verb("inspect", "report"), "celeriac")

    def test_an_error_of_a_node_is_a_line_and_a_status(self):
        self.start()
        self.run_verb("control", "autoscale", "3", "1", status=1,
                      error=f"celeriac: {NODE}: ValueError('Autoscale not enabled')\n")
        self.assertEqual(self.json("control", "time_limit", "no.such", "1", status=1,
                                   error=f"celeriac: {NODE}: unknown task\n"), {NODE: {"error": "unknown task"}})

    def test_a_node_that_does_not_answer(self):
        self.start()
        self.run_verb("inspect", "ping", "-d", "nobody@host", "--timeout", "300ms", status=1,
                      error="celeriac: no node has answered in time\n")
        self.assertEqual(list(self.json("inspect", "ping", "-d", f"nobody@host,{NODE}", "--timeout", "300ms")), [NODE])

    def test_wrong_command_lines(self):
        for arguments, words in (
                (("inspect",), "inspect: name a command"), (("inspect", "pong"), '"pong" is no command'),
                (("control", "rate_limit", "x"), "rate_limit: rate_limit is missing"),
                (("control", "revoke"), "revoke: task_id is missing"),
                (("control", "pool_grow", "many"), 'pool_grow: n: "many" is no number'),
                (("inspect", "ping", "x"), 'ping: "x" is one argument too many'),
                (("inspect", "ping", "--terminate"), "unknown option"),
                (("control", "heartbeat", "--terminate"), "mean nothing here"),
                (("control", "revoke", "x", "--signal", "NONE"), "is no signal"),
                (("status", "x"), 'unexpected argument "x"')):
            with self.subTest(arguments=arguments):
                done = celeriac(*arguments, redis=self.server)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(words, done.stderr)

    def test_redis_that_cannot_be_reached(self):
        for verb in (("status",), ("inspect", "ping"), ("control", "heartbeat")):
            done = celeriac(*verb, "-b", "redis+socket:///nonexistent/redis.sock", "--timeout", "500ms")
            self.assertEqual(done.returncode, 69, done.stderr)
            self.assertRegex(done.stderr, r"\Aceleriac: .*nonexistent.*\n\Z")

    def test_help_lists_every_command(self):
        for verb, commands in (("inspect", "ping active reserved scheduled query_task revoked registered active_queues stats conf report clock"),
                               ("control", "revoke terminate revoke_by_stamped_headers rate_limit time_limit add_consumer cancel_consumer "
                                           "enable_events disable_events heartbeat pool_grow pool_shrink autoscale pool_restart shutdown")):
            text = celeriac(verb, "--help").stdout
            for command in commands.split():
                self.assertRegex(text, rf"(?m)^  {command}\b")


if __name__ == "__main__":
    unittest.main()
