"""celeriac audit: the numbers add up whatever becomes of the tasks, and what is lost is named."""
import base64
import json
import os
import signal
import sys
import time
import unittest

from integration.worker.calls import WorkerTest, iso, message
from support.servers import ROOT, celeriac, wait_until

sys.path.insert(0, os.path.join(ROOT, "tests", "chaos"))
from proxy import Proxy  # noqa: E402


class Audit(WorkerTest):
    def audit(self, *arguments, expect=0):
        done = celeriac("audit", "--json", *arguments, redis=self.server)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def call(self, *arguments):
        """A call that is counted; returns its id."""
        done = celeriac("call", *arguments, redis=self.server, check=True)
        return done.stdout.strip()

    def everything(self):
        """Calls that come to each end there is."""
        for _ in range(20):
            self.call("tests.add", "1", "2")
        self.call("tests.retry", "20", "2")
        self.call("tests.fail")
        self.call("tests.crash")
        self.call("tests.sleep_early", "5")
        self.call("tests.unknown")
        self.call("tests.send", "tests.noop", "[]", "3")
        self.call("tests.add", "1", "2", "--countdown", "1h")
        celeriac("revoke", self.call("tests.add", "1", "2", "--countdown", "2s"), redis=self.server, check=True)
        self.redis.lpush("celery", b"no message", message("tests.add", 1, 2)[1],
                         message("tests.add", 1, 2, expires=iso(-1))[1])

    def settled(self):
        counts = self.audit()[0]
        return counts["waiting"] + counts["in_flight"] == 0 and counts["delayed"] == 1 and counts

    def test_what_comes_to_every_end_adds_up(self):
        self.worker("-c", "2", "--track-ids")
        self.everything()
        counts = wait_until(self.settled, 20, "all but one have ended", 0.1)
        self.assertEqual(counts["by_others"], 3)
        self.assertEqual(counts["dead"], 3)  # unknown, no message, crashed twice
        self.assertEqual((counts["expired"], counts["revoked"], counts["removed"]), (1, 1, 0))
        self.assertEqual(counts["published"] + counts["by_others"],
                         counts["delayed"] + counts["dead"] + counts["done"] + counts["expired"] + counts["revoked"])
        self.assertEqual(counts["missing"], 0)
        self.assertEqual(self.audit("--ids"), [])
        ledger = {id.decode() for id in self.redis.hkeys("celeriac:ledger:{celery}")}
        self.assertEqual(len(ledger), 3)  # delayed, and two of those set aside: the third has no id

    def test_a_running_fleet_adds_up_at_any_moment(self):
        worker = self.worker("-c", "2", "--track-ids", "--lease", "2s")
        self.worker("-c", "2", "--track-ids", "--lease", "2s", name="second")
        batch = [message("tests.sleep", 3)[1] for _ in range(1500)]
        self.redis.lpush("celery", *batch)
        looks = 0
        while self.waiting() > 0:
            counts = self.audit()[0]
            self.assertEqual((counts["missing"], counts["by_others"]), (0, 1500))
            looks += 1
            if looks == 5:
                worker.stop(signal.SIGKILL)
        self.assertGreater(looks, 5)
        self.assertEqual(self.audit("--ids"), [])
        self.wait_idle(20)
        self.assertEqual(self.audit("--ids"), [])
        self.assertEqual(self.redis.hlen("celeriac:ledger:{celery}"), 0)

    def test_what_is_lost_is_named(self):
        self.worker("-c", "1", "--track-ids")
        lost, kept, doubled = (self.call("tests.add", "1", "2", "--countdown", "1h") for _ in range(3))
        wait_until(lambda: self.delayed() == 3, 10, "they are parked")
        for member in self.redis.zrange("celeriac:delayed:{celery}", 0, -1):
            if lost.encode() in member:
                self.redis.zrem("celeriac:delayed:{celery}", member)
            if doubled.encode() in member:
                self.redis.zadd("celeriac:delayed:{celery}", {b"again/1.0\n" + member.split(b"\n")[1]: 1e13})
        self.redis.hincrby("celeriac:counts:{celery}", "done", 1)  # or the two would cancel each other out
        rows = self.audit("--ids", expect=1)
        self.assertEqual(sorted((row["id"], row["found"], row["state"]) for row in rows),
                         sorted([(lost, 0, None), (doubled, 2, None)]))
        self.assertNotIn(kept, str(rows))
        self.assertEqual(self.audit(expect=1)[0]["missing"], -1)
        text = celeriac("audit", "--ids", redis=self.server)
        self.assertIn("the numbers do not add up: 1 messages", text.stderr)
        self.assertIn("1 ids are nowhere and have no final result", text.stderr)
        self.assertIn(lost, text.stdout)
        self.audit("--forget-ids", expect=1)
        self.assertEqual(self.audit("--ids", expect=1), [])

    def test_what_ended_where_ids_are_not_noted_is_not_called_lost(self):
        first = self.worker("-c", "2", "--track-ids", "--lease", "2s")
        kept = self.send("tests.sleep", 1500)
        silent = self.send("tests.sleep", 1500, ignore_result=True)
        wait_until(lambda: self.redis.hlen("celeriac:ledger:{celery}") == 2, 10, "both are noted")
        first.stop(signal.SIGKILL)
        self.worker("-c", "2", "--lease", "2s", name="second")
        self.wait(kept, 20)
        self.wait_idle(20)
        self.assertEqual(self.audit()[0]["missing"], 0)
        rows = self.audit("--ids", expect=1)
        self.assertEqual(rows, [{"queue": "celery", "id": silent, "found": 0, "state": None}])
        text = celeriac("audit", "--ids", redis=self.server)
        self.assertIn("1 ids were ended by workers that do not note ids", text.stderr)
        self.assertIn("lost, removed, or ended by workers that do not note ids", text.stderr)
        self.assertNotIn(kept, text.stdout)

    def test_a_result_on_another_server_is_found_there(self):
        self.redis.hset("celeriac:ledger:{celery}", "ended", "node")
        client = self.server.client()
        self.addCleanup(client.close)
        client.execute_command("SELECT", 2)
        client.set("celery-task-meta-ended", json.dumps({"status": "SUCCESS", "result": 1, "task_id": "ended"}))
        self.assertEqual([row["state"] for row in self.audit("--ids", "celery", expect=1)], [None])
        self.assertEqual(self.audit("--ids", "celery", "--result-backend", f"unix://{self.server.socket}?db=2"), [])

    def test_a_message_of_protocol_1_is_found_where_it_waits(self):
        self.worker("-c", "1", "--track-ids")
        body = json.dumps({"task": "tests.add", "id": "old-1", "args": [1, 2], "kwargs": {}, "retries": 0, "eta": iso(3600)})
        self.redis.lpush("celery", json.dumps({
            "body": base64.b64encode(body.encode()).decode(), "content-encoding": "utf-8",
            "content-type": "application/json", "headers": {},
            "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "celery"},
                           "delivery_tag": "old-tag", "correlation_id": "old-1"}}))
        wait_until(lambda: self.delayed() == 1, 10, "it is parked")
        self.assertEqual(self.redis.hkeys("celeriac:ledger:{celery}"), [b"old-1"])
        self.assertEqual(self.audit("--ids"), [])

    def test_a_look_may_take_longer_than_an_answer(self):
        last = self.send("tests.noop")
        self.redis.lpush("celery", *(b"%d" % number for number in range(10000)))
        self.redis.hset("celeriac:ledger:{celery}", last, "node")
        proxy = Proxy(self.folder, self.server).start()
        self.addCleanup(proxy.stop)
        proxy.delay = 0.05  # each way, for each of forty pages
        begun = time.monotonic()
        done = celeriac("audit", "--ids", "--json", "--timeout", "2s", "celery", redis=proxy, seconds=120)
        self.assertGreater(time.monotonic() - begun, 4)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout), [])

    def test_ends_by_hand_leave_the_ledger(self):
        self.worker("-c", "1", "--track-ids")
        self.call("tests.unknown")
        self.call("tests.add", "1", "2", "--countdown", "1h")
        wait_until(lambda: len(self.dead()) == 1 and self.delayed() == 1, 10, "one is set aside, one parked")
        self.assertEqual(self.redis.hlen("celeriac:ledger:{celery}"), 2)
        for verb, action in (("dead", "drop"), ("delayed", "cancel")):
            done = celeriac(verb, action, "--all", redis=self.server)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.redis.hlen("celeriac:ledger:{celery}"), 0)
        counts = self.audit("celery")[0]
        self.assertEqual((counts["missing"], counts["removed"]), (0, 2))


if __name__ == "__main__":
    unittest.main()
