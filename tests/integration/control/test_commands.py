"""Every command of `celery control`, sent by Celery's client, against what a Python worker has answered."""
import base64
import json
import os
import signal
import subprocess
import time
import unittest
import uuid

from integration.control.asking import NODE, AskingTest, recorded
from support.servers import celeriac, wait_until


class Commands(AskingTest):
    def test_events_heartbeat_election(self):
        self.start()
        self.same_reply("c-526-enable-events", "enable_events")
        self.assertEqual(self.tell("enable_events"), {"ok": "task events already enabled"})
        self.assertEqual(self.tell("disable_events"), {"ok": "task events disabled"})
        self.assertEqual(self.tell("disable_events"), {"ok": "task events already disabled"})
        self.same_reply("c-526-heartbeat", "heartbeat")
        self.assertIsNone(self.tell("election", id="e", topic="t", action=None))
        self.same_reply("c-526-unknown-command", "no_such_command")

    def test_a_task_that_waits_is_revoked_for_every_worker(self):
        worker = self.start("-c", "1")
        blocker = self.send("tests.sleep", 60000)
        wait_until(lambda: self.ask("active"), 10, "it runs")
        id = "00000004-0072-4000-8000-000000000000"
        self.send("tests.add", 4, 4, id=id)
        self.same_reply("c-526-revoke", "revoke", task_id=id, terminate=False, signal="SIGTERM")
        self.assertEqual(self.tell("revoke", task_id=["a", "b"]), {"ok": "tasks a, b flagged as revoked"})
        self.assertEqual(self.tell("revoke", task_id=[]), {"ok": "tasks  flagged as revoked"})
        worker.send_signal(signal.SIGQUIT)
        worker.wait()
        other = self.start("-c", "2", node="w2@host.example")
        self.assertEqual(self.wait(id)["result"]["exc_message"], ["revoked"])
        self.assertEqual(set(self.ask("revoked", node="w2@host.example")), {id, "a", "b"})
        self.assertNotIn("level=error", other.text())
        self.tell("revoke", node="w2@host.example", task_id=blocker, terminate=True)

    def test_a_running_task_is_terminated(self):
        self.start("-c", "2")
        by_revoke, by_terminate = self.send("tests.sleep", 60000), self.send("tests.sleep", 60000)
        wait_until(lambda: len(self.ask("active")) == 2, 10, "they run")
        self.assertEqual(self.tell("revoke", task_id=by_revoke, terminate=True, signal="SIGKILL"),
                         {"ok": f"terminate: {by_revoke}"})
        self.assertEqual(self.wait(by_revoke)["result"]["exc_message"], ["terminated"])
        self.assertEqual(self.tell("terminate", task_id=[by_terminate], signal=15),
                         {"ok": f"terminate: {by_terminate}"})
        self.assertEqual(self.wait(by_terminate)["result"]["exc_message"], ["terminated"])
        self.same_reply("c-526-terminate-unknown", "revoke", task_id="no-such", terminate=True, signal="SIGTERM")
        self.assertIn("error", self.tell("revoke", task_id="x", terminate=True, signal="SIGNONE"))
        self.assertIn("error", self.tell("revoke", task_id="x", terminate=True, signal=99999))
        for bad in (None, 7, [7], {"a": 1}, "", ["x" * 5000]):
            self.assertIn("error", self.tell("revoke", task_id=bad), bad)
        self.assertIn("error", self.tell("revoke"))

    def test_tasks_are_revoked_by_their_stamps(self):
        self.start("-c", "2")
        stamped = {"stamped_headers": ["tenant"], "stamps": {"tenant": ["t1"]}}
        running = self.send("tests.sleep", 60000, **stamped)
        wait_until(lambda: self.ask("active"), 10, "it runs")
        self.same_reply("c-563-revoke-by-headers", "revoke_by_stamped_headers", headers={"tenant": ["t1"]},
                        terminate=False, signal="SIGTERM")
        later = self.send("tests.add", 1, 2, **stamped)
        self.assertEqual(self.wait(later)["status"], "REVOKED")
        self.assertEqual([request["id"] for request in self.ask("active")], [running])
        self.assertEqual(self.tell("revoke_by_stamped_headers", headers={"tenant": "t2"}, terminate=True),
                         {"ok": "headers {'tenant': 't2'} were not terminated"})
        self.assertEqual(self.tell("revoke_by_stamped_headers", headers=["tenant=t1"], terminate=True),
                         {"ok": "headers {'tenant': ['t1']} revoked"})
        self.assertEqual(self.wait(running)["result"]["exc_message"], ["terminated"])
        for bad in ({}, [], "x", {"tenant": []}, ["x"], 7):
            self.assertIn("error", self.tell("revoke_by_stamped_headers", headers=bad), bad)

    def test_time_limits_hold_from_then_on_and_with_new_code(self):
        self.start("-c", "1")
        self.same_reply("c-526-time-limit", "time_limit", task_name="tests.sleep", hard=60, soft=50)
        self.assertEqual(self.tell("time_limit", task_name="tests.none", hard=1), {"error": "unknown task"})
        self.assertIn("error", self.tell("time_limit", task_name="tests.sleep", hard="soon"))
        self.tell("time_limit", task_name="tests.sleep", hard=0.3)
        self.assertEqual(self.failure(self.send("tests.sleep", 60000))[0], "TimeLimitExceeded")
        before = self.ask("stats")["pool"]["processes"]
        self.same_reply("c-526-pool-restart", "pool_restart", modules=None, reload=False, reloader=None)
        wait_until(lambda: not set(before) & set(self.ask("stats")["pool"]["processes"]), 20, "new processes")
        self.assertEqual(self.failure(self.send("tests.sleep", 60000))[0], "TimeLimitExceeded")
        self.assertIn("tests.sleep [time_limit=0.3]", self.ask("registered", taskinfoitems=["time_limit"]))

    def test_a_rate_limit_outlives_the_worker(self):
        worker = self.start("-c", "2")
        self.same_reply("c-526-rate-limit-bad", "rate_limit", task_name="tests.add", rate_limit="bogus")
        self.assertEqual(self.tell("rate_limit", task_name="no.such", rate_limit="1/s"), {"error": "unknown task"})
        self.same_reply("c-526-rate-limit", "rate_limit", task_name="tests.add", rate_limit="2/m")
        self.assertIn("tests.add [rate_limit=2/m]", self.ask("registered"))
        worker.stop()
        self.start("-c", "2")
        self.assertIn("tests.add [rate_limit=2/m]", self.ask("registered"))
        first, second = self.send("tests.add", 1, 1), self.send("tests.add", 2, 2)
        self.get(first)
        wait_until(lambda: self.delayed() == 1, 10, "the second waits for its turn")
        self.assertEqual(self.result(second)["status"], "PENDING")
        self.assertEqual(self.tell("rate_limit", task_name="tests.add", rate_limit=0),
                         {"ok": "rate limit disabled successfully"})
        self.assertIn("tests.add", self.ask("registered"))
        self.assertEqual([self.get(self.send("tests.add", n, 0)) for n in range(10)], list(range(10)))
        self.assertEqual(self.redis.hgetall("celeriac:told:" + NODE), {b"rate_limit:tests.add": b"0"})

    def test_what_cannot_be_noted_is_done_and_said(self):
        self.redis.set("celeriac:told:" + NODE, "a key of another type")
        worker = self.start()  # it begins although it cannot know what it was told
        worker.says("What this node was told in earlier lives cannot be read")
        reply = self.tell("rate_limit", task_name="tests.add", rate_limit="2/m")
        self.assertRegex(reply["error"], "done, but Redis did not note it for the next start: .*WRONGTYPE")
        self.assertIn("tests.add [rate_limit=2/m]", self.ask("registered"))

    def test_the_pool_grows_and_shrinks(self):
        self.start("-c", "2")
        def size():
            stats = self.ask("stats")["pool"]
            return stats["max-concurrency"], len(stats["processes"])
        self.same_reply("c-526-pool-grow", "pool_grow", n=1)
        wait_until(lambda: size() == (3, 3), 20, "one more")
        self.assertEqual(self.tell("pool_shrink", n=2), {"ok": "pool will shrink"})
        wait_until(lambda: size() == (1, 1), 20, "two less")
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)
        self.assertIn("error", self.tell("pool_shrink", n=1))
        self.assertIn("error", self.tell("pool_grow", n=1024))
        for bad in (0, -1, "x", 100000):
            self.assertIn("error", self.tell("pool_grow", n=bad))
            self.assertIn("error", self.tell("pool_shrink", n=bad))

    def test_queues_are_added_and_cancelled_and_it_is_not_forgotten(self):
        worker = self.start("-c", "2", "-Q", "celery,slow")
        def names():
            return [queue["name"] for queue in self.ask("active_queues")]
        self.same_reply("c-526-add-consumer", "add_consumer", queue="extra", exchange=None, exchange_type="direct",
                        routing_key=None)
        self.assertEqual(self.get(self.send("tests.add", 1, 2, queue="extra")), 3)
        self.assertEqual(self.tell("cancel_consumer", queue="slow"), {"ok": "no longer consuming from slow"})
        self.assertEqual(names(), ["celery", "extra"])
        waiting = self.send("tests.add", 3, 4, queue="slow")
        worker.stop()
        self.start("-c", "2", "-Q", "celery,slow")
        self.assertEqual(names(), ["celery", "extra"])
        self.assertEqual(self.get(self.send("tests.add", 5, 6, queue="extra")), 11)
        self.assertEqual(self.get(self.send("tests.add", 7, 8)), 15)
        self.assertEqual((self.result(waiting)["status"], self.waiting("slow")), ("PENDING", 1))
        self.assertEqual(self.tell("add_consumer", queue="slow"), {"ok": "add consumer slow"})
        self.assertEqual(self.get(waiting), 7)
        self.tell("cancel_consumer", queue="extra")
        self.tell("cancel_consumer", queue="never")
        self.assertFalse(self.redis.exists("celeriac:told:" + NODE))
        for bad in ("", None, "x" * 3000, "a\nb"):
            self.assertIn("error", self.tell("add_consumer", queue=bad))
        self.assertIn("error", self.tell("cancel_consumer"))

    def test_autoscale(self):
        self.start("--autoscale", "3,1")
        self.same_reply("c-526-pool-grow-autoscale", "pool_grow", n=1)
        self.assertIn("not supported with autoscale", self.tell("pool_shrink", n=1)["error"])
        self.same_reply("c-526-autoscale-ok", "autoscale", max=4, min=2)
        wait_until(lambda: len(self.ask("stats")["pool"]["processes"]) == 2, 20, "as many as the fewest")
        autoscaler = self.ask("stats")["autoscaler"]
        self.assertEqual([autoscaler[key] for key in ("max", "min", "current", "qty")], [4, 2, 2, 2])
        self.assertEqual(self.tell("autoscale", max=5, min=None), {"ok": "autoscale now max=5 min=2"})
        for bad in ({"max": 1, "min": 2}, {"max": 100000}, {"max": 0}):
            self.assertIn("error", self.tell("autoscale", **bad), bad)

    def test_autoscale_that_is_off(self):
        self.start()
        self.same_reply("c-526-autoscale", "autoscale", max=4, min=1)

    def test_shutdown(self):
        """A warm one, without a reply; nothing is left behind but what is kept on purpose."""
        worker = self.start("-c", "1")
        id = self.send("tests.sleep", 500)
        wait_until(lambda: self.ask("active"), 10, "it runs")
        self.assertEqual(self.redis.smembers("_kombu.binding.celery.pidbox"),
                         {b"\x06\x16\x06\x16" + NODE.encode() + b".celery.pidbox"})
        self.assertEqual(self.app.control.broadcast("shutdown", destination=[NODE], reply=True, timeout=1), [])
        self.assertEqual(worker.wait(), 0)
        self.assertEqual(self.get(id), None)
        left = {key.decode() for key in self.redis.keys("*")} - {"celery-task-meta-" + id}
        self.assertEqual({key for key in left if not key.startswith("celeriac:")}, {"_kombu.binding.celery"})
        self.assertEqual(self.redis.pubsub_numpat(), 0)

    def test_the_command_line_of_celery(self):
        worker = self.start()
        def run(*arguments, status=0):
            done = subprocess.run(["/usr/bin/python3", "-m", "celery", "-b", self.server.url, "control", *arguments],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
            return done.stdout
        self.assertIn("task events enabled", run("enable_events"))
        self.assertIn("task events disabled", run("disable_events"))
        self.assertIn("tasks x flagged as revoked", run("revoke", "x"))
        self.assertIn("terminate: tasks unknown", run("terminate", "SIGTERM", "y"))
        self.assertIn("time limits set successfully", run("time_limit", "tests.add", "5", "6"))
        self.assertIn(NODE, run("heartbeat"))
        self.assertIn("Autoscale not enabled", run("autoscale", "3", "1"))
        run("shutdown", status=69)  # celery's own way to say that nobody has answered
        self.assertEqual(worker.wait(), 0)

    def test_hostile_messages_stop_nothing(self):
        worker = self.start()
        def wrap(body, content_type="application/json", encoding="base64", **headers):
            if not isinstance(body, bytes):
                body = json.dumps(body).encode()
            return json.dumps({"body": base64.b64encode(body).decode(), "content-encoding": "utf-8",
                               "content-type": content_type, "headers": headers,
                               "properties": {"body_encoding": encoding, "delivery_tag": "t", "priority": 0,
                                              "delivery_mode": 2, "delivery_info": {"exchange": "celery.pidbox",
                                                                                    "routing_key": ""}}})
        reply_to = {"exchange": "reply.celery.pidbox", "routing_key": "nobody"}
        ping = {"method": "ping", "arguments": {}, "reply_to": reply_to, "ticket": "t"}
        messages = [
            b"", b"\0", b"\xff\xfe", b"ping", b"[]", b"{}", b"null", b"{" * 100000, b'{"body": "e30="}',
            wrap(b"not json"), wrap([]), wrap({}), wrap("ping"), wrap({"method": None}), wrap({"method": ["ping"]}),
            wrap({"method": "x" * 1000000, "reply_to": reply_to}), wrap(ping, content_type="application/x-python-serialize"),
            wrap(ping, encoding="utf-8"), wrap(ping, clock=-5), wrap(ping, clock=2 ** 70), wrap(ping, clock="soon"),
            wrap({**ping, "destination": NODE}), wrap({**ping, "destination": {"a": 1}}),
            wrap({**ping, "pattern": "(", "matcher": "pcre"}), wrap({**ping, "pattern": "*", "matcher": "sql"}),
            wrap({**ping, "pattern": "(?:(?:a|a)*)*$(?<!x)", "matcher": "pcre"}),
            wrap({**ping, "reply_to": 7}), wrap({**ping, "reply_to": {"exchange": 7, "routing_key": []}}),
            wrap({**ping, "reply_to": {"exchange": "celery", "routing_key": "celery"}}),
            wrap({**ping, "arguments": [1]}), wrap({**ping, "ticket": {"a": []}}),
        ]
        for method in ("active", "query_task", "revoke", "terminate", "revoke_by_stamped_headers", "rate_limit", "time_limit",
                       "add_consumer", "cancel_consumer", "pool_grow", "pool_shrink", "autoscale", "hello", "registered",
                       "scheduled", "conf", "stats", "election", "no_such"):
            for value in (None, True, -1, 2 ** 65, 1.5, "", "x" * 300, [], [[[]]], {}, {"a": {"b": None}}):
                arguments = {name: value for name in ("task_id", "ids", "headers", "signal", "task_name", "rate_limit",
                                                      "soft", "hard", "queue", "n", "max", "min", "from_node", "revoked",
                                                      "taskinfoitems", "safe", "id", "exchange", "routing_key")}
                if method in ("pool_grow", "pool_shrink", "add_consumer", "cancel_consumer") and value not in (-1, "", []):
                    continue  # those that would be obeyed
                messages.append(wrap({"method": method, "arguments": arguments, "reply_to": reply_to, "ticket": "t"}))
        for message in messages:
            self.assertEqual(self.redis.publish("/0.celery.pidbox", message), 1)
            self.redis.publish("/0.celeryev/worker.elect", message)
        self.assertEqual(self.ask("ping"), {"ok": "pong"})
        self.assertIsNone(worker.process.poll())
        self.assertEqual(self.redis.exists("nobody.reply.celery.pidbox", "celery.celery"), 0)
        self.assertEqual(self.redis.llen("celery"), 0)
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)

    def test_a_burst_of_requests_from_many_askers(self):
        """Each gets its own answer; no list stays."""
        self.start()
        self.start(node="v2@host.example")
        def ask(number):
            return subprocess.Popen(
                ["/usr/bin/python3", "-c", f"""
import celery
app = celery.Celery(broker={self.server.url!r})
for _ in range(10):
    assert len(app.control.ping(timeout=10, limit=2)) == 2
"""], stderr=subprocess.PIPE, text=True)
        askers = [ask(n) for n in range(4)]
        for asker in askers:
            self.assertEqual((asker.wait(60), asker.stderr.read().count("AssertionError")), (0, 0))
            asker.stderr.close()
        wait_until(lambda: not self.redis.keys("*reply.celery.pidbox*"), 5, "no list of replies stays")

    def test_remote_control_that_is_switched_off(self):
        self.worker("-n", NODE, "--no-remote-control")
        self.assertEqual(self.redis.pubsub_numpat(), 0)
        self.assertEqual(self.redis.publish("/0.celery.pidbox", "x"), 0)
        self.assertFalse(self.redis.exists("_kombu.binding.celery.pidbox"))

    def test_it_listens_again_after_redis_was_away(self):
        """Asked by new processes, as kombu's own connections are no better than they were."""
        worker = self.start()
        def answers():
            return celeriac("inspect", "ping", "--timeout", "1s", redis=self.server).returncode == 0
        self.server.stop()
        self.server.start()
        wait_until(answers, 20, "the node answers again")
        self.redis.client_kill_filter(_type="pubsub")
        wait_until(answers, 20, "the node answers again")
        self.assertIsNone(worker.process.poll())

    def test_a_user_who_may_neither_speak_nor_listen(self):
        """Tasks run; what is missing is said once."""
        self.redis.execute_command("ACL", "SETUSER", "mute", "on", ">word", "~*", "+@all", "resetchannels",
                                   "&celery-task-meta-*")
        worker = self.worker("-n", NODE, "-b", f"redis+socket://mute:word@{self.server.socket}")
        worker.says("Redis refuses to let this worker hear remote control.*NOPERM", 1)
        worker.says("Redis refuses events: monitors do not see this worker.*NOPERM", 1)
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)
        self.redis.execute_command("ACL", "SETUSER", "mute", "allchannels")
        worker.says("Redis takes events again", 1, 15)
        worker.says("Remote control is heard again", 1, 15)
        self.assertEqual(self.ask("ping"), {"ok": "pong"})
        worker.says("Redis refuses", 2)

    def test_prefixes_of_keys_and_channels(self):
        folder = os.path.join(self.folder, "prefix.ini")
        with open(folder, "w") as file:
            file.write("[celeriac]\nkey_prefix = shop[1]:\nfanout_prefix = {db}/fan.\n")
        self.app = self.client(broker_transport_options={"global_keyprefix": "shop[1]:", "fanout_prefix": "{db}/fan."})
        self.worker("-n", NODE, "--config", folder)
        self.app.control.ping(timeout=0.1)
        # kombu does not escape the prefix in the patterns that it subscribes to, and asks by PUBLISH: that is enough
        wait_until(lambda: self.inspect(timeout=1).ping(), 20, "the node answers")
        self.assertTrue(self.redis.exists("shop[1]:_kombu.binding.celery.pidbox"))


if __name__ == "__main__":
    unittest.main()
