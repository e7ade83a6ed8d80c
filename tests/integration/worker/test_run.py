"""Calls that run, fail, are retried, parked, refused: what the broker holds afterwards."""
import base64
import datetime
import json
import os
import time
import unittest

from integration.worker.calls import WorkerTest, iso, message
from support.servers import RedisServer, wait_until


class Run(WorkerTest):
    def test_a_call_runs_and_leaves_nothing_but_its_result(self):
        worker = self.worker("-c", "2")
        id = self.send("tests.add", 1, 2)
        self.assertEqual(self.get(id), 3)
        document = self.result(id)
        self.assertEqual(document["task_id"], id)
        self.assertEqual(document["children"], [])
        self.assertIsNone(document["traceback"])
        self.assertRegex(document["date_done"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$")
        self.assertAlmostEqual(self.redis.ttl("celery-task-meta-" + id), 86400, delta=5)
        self.wait_idle()
        wait_until(lambda: "Task succeeded" in worker.text(), 5, "the log")
        self.assertRegex(worker.text(), r'msg="Task received" task=tests.add task_id=' + id)
        self.assertRegex(worker.text(), r'msg="Task succeeded" task=tests.add task_id=' + id + r" runtime=0\.\d+")
        self.assertEqual(self.redis.smembers("_kombu.binding.celery"), {b"celery\x06\x16\x06\x16celery"})

    def test_many_calls_all_run_once(self):
        self.worker("-c", "4", "-l", "warning")
        ids = []
        for _ in range(40):
            batch = [message("tests.add", i, 1) for i in range(100)]
            ids += [(id, i + 1) for i, (id, _) in enumerate(batch)]
            self.redis.lpush("celery", *[text for _, text in batch])
        self.wait_idle(30)
        for id, value in ids:
            self.assertEqual(self.result(id)["result"], value)

    def test_queues_share_and_priorities_go_first(self):
        worker = self.worker("-c", "1", "-Q", "a,b")
        gate = self.send("tests.sleep", 400, queue="a")
        self.running(worker, gate)
        for i in range(3):
            for queue in "a", "b":
                self.send("tests.noop", id=f"{queue}-late-{i}", queue=queue)
        low = [message("tests.noop", id=f"a-low-{i}", queue="a", priority=9) for i in range(2)]
        self.redis.lpush("a\x06\x169", *[text for _, text in low])
        self.wait_idle(queue="a")
        self.wait_idle(queue="b")
        wait_until(lambda: worker.text().count("Task succeeded") == 9, 5, "nine ends in the log")
        order = [line.partition("task_id=")[2].split()[0] for line in worker.text().splitlines()
                 if "Task succeeded" in line]
        of_a = [id for id in order if id.startswith("a-")]
        self.assertEqual(of_a, ["a-late-0", "a-late-1", "a-late-2", "a-low-0", "a-low-1"])
        self.assertLess(order.index("b-late-0"), order.index("a-late-2"))

    def test_ignored_results_are_not_stored(self):
        self.worker("-c", "1")
        by_task = self.send("tests.ignored")
        by_call = self.send("tests.noop", ignore_result=True)
        last = self.send("tests.noop")
        self.get(last)
        self.wait_idle()
        self.assertEqual(self.result(by_task)["status"], "PENDING")
        self.assertEqual(self.result(by_call)["status"], "PENDING")

    def test_a_failure_is_celerys_failure(self):
        self.worker("-c", "1")
        id = self.send("tests.fail", "KeyError", "sku")
        self.assertEqual(self.failure(id), ("KeyError", "builtins", ["sku"]))
        self.wait_idle()

    def test_sends_leave_with_the_success_and_not_without(self):
        self.worker("-c", "2")
        id = self.send("tests.send", "tests.add", [2, 3], 3)
        ids = self.get(id)
        self.assertEqual(len(ids), 3)
        for child in ids:
            self.assertEqual(self.get(child), 5)
            self.assertEqual(self.result(child)["parent_id"], id)
        self.assertEqual(self.result(id)["children"], [[[child, None], None] for child in ids])
        failed = self.send("tests.send", "tests.add", [2, 3], 3, "fail")
        self.failure(failed)
        self.wait_idle()
        self.assertEqual(len(list(self.redis.scan_iter("celery-task-meta-*"))), 5)

    def test_progress_and_started_are_seen_and_overtake_nothing(self):
        self.worker("-c", "2")
        tracked = self.send("tests.sleep_tracked", 300)
        started = self.wait(tracked, states=("STARTED",))
        self.assertIn("pid", started["result"])
        self.assertIn("@", started["result"]["hostname"])
        slow = self.send("tests.progress", 3, 100)
        seen = self.wait(slow, states=("PROGRESS",))
        self.assertEqual(seen["result"]["of"], 3)
        ids = [self.send("tests.progress", 20, 0) for _ in range(50)]
        for id in ids:
            self.assertEqual(self.get(id), 20)
        self.wait_idle()
        for id in [tracked, slow, *ids]:
            self.assertEqual(self.result(id)["status"], "SUCCESS")

    def test_a_send_that_redis_refuses_fails_the_task(self):
        self.redis.set("other", "no list")
        worker = self.worker("-c", "1")
        id = self.send("tests.send", "tests.on_other_queue")
        type, module, text = self.failure(id)
        self.assertEqual((type, module), ("OperationalError", "kombu.exceptions"))
        self.assertIn("WRONGTYPE", str(text))
        self.wait_idle()
        self.assertEqual(worker.stop(), 0)

    def test_an_early_acknowledgement_comes_before_the_end(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.sleep_early", 500)
        self.running(worker, id)
        wait_until(lambda: self.in_flight() == 0, 0.4, "acknowledged while it runs", 0.002)
        self.assertEqual(self.result(id)["status"], "PENDING")
        self.get(id)

    def test_results_on_another_server(self):
        other = RedisServer(self.folder, "results")
        self.addCleanup(other.stop)
        other.start()
        self.worker("-c", "2", "--result-backend", other.url)
        ids = [self.send("tests.progress", 5, 0) for _ in range(50)]
        early = self.send("tests.sleep_early", 1)
        retried = self.send("tests.retry", 10, 1)
        self.assertEqual(list(self.redis.scan_iter("celery-task-meta-*")), [])
        with other.client() as results:
            for id in [*ids, early, retried]:
                wait_until(lambda: b'"SUCCESS"' in (results.get("celery-task-meta-" + id) or b""), 10, id)
        self.wait_idle()

    def test_results_can_be_disabled(self):
        self.worker("-c", "1", "--result-backend", "disabled")
        self.send("tests.add", 1, 2)
        self.send("tests.fail")
        self.wait_idle()
        self.assertEqual(list(self.redis.scan_iter("celery-task-meta-*")), [])

    def test_large_results_and_messages_pass(self):
        self.worker("-c", "1")
        id = self.send("tests.large", 3_000_000)
        self.assertEqual(len(self.get(id, 30)), 3_000_000)
        id = self.send("tests.echo", "y" * 3_000_000)
        self.assertEqual(len(self.get(id, 30)[0][0]), 3_000_000)
        self.wait_idle()

    def test_once_is_skipped_when_its_result_is_there(self):
        self.worker("-c", "1")
        path = self.folder + "/count"
        id, text = message("tests.count_once", path, redelivered=True)
        for expected in 1, 1:
            self.redis.lpush("celery", text)
            self.wait_idle()
            self.get(id)
            self.assertEqual(os.path.getsize(path), expected)
        plain, text = message("tests.count", path, redelivered=True)
        for expected in 2, 3:
            self.redis.lpush("celery", text)
            self.wait_idle()
            self.get(plain)
            self.assertEqual(os.path.getsize(path), expected)


class Retry(WorkerTest):
    def test_a_countdown_is_kept_to_a_tenth_of_a_second(self):
        worker = self.worker("-c", "2")
        id = self.send("tests.retry", 700, 2)
        self.wait(id, states=("RETRY",))
        document = self.result(id)
        self.assertEqual(document["children"], [[[id, None], None]])
        self.assertIsNone(document["date_done"])
        self.assertEqual(self.get(id), 2)
        wait_until(lambda: "Task succeeded" in worker.text(), 5, "the end in the log")
        times = [line.partition("time=")[2].split()[0] for line in worker.text().splitlines()
                 if "Task received" in line]
        self.assertEqual(len(times), 3)
        moments = [datetime.datetime.fromisoformat(text).timestamp() for text in times]
        for before, after in zip(moments, moments[1:]):
            self.assertAlmostEqual(after - before, 0.7, delta=0.1)
        self.wait_idle()
        self.assertEqual(self.delayed(), 0)

    def test_the_next_attempt_keeps_what_the_caller_gave(self):
        self.worker("-c", "1")
        id = self.send("tests.retry", 60000, 1, group="g-1", parent_id="p-1", tenant={"a": [1.5, None]}, priority=4)
        self.wait(id, states=("RETRY",))
        wait_until(lambda: self.delayed() == 1, 5, "parked")
        member, score = self.redis.zrange("celeriac:delayed:{celery}", 0, 0, withscores=True)[0]
        envelope = json.loads(member.partition(b"\n")[2])
        self.assertAlmostEqual(score / 1000, time.time() + 60, delta=2)
        headers = envelope["headers"]
        self.assertEqual(headers["id"], id)
        self.assertEqual(headers["retries"], 1)
        self.assertEqual(headers["group"], "g-1")
        self.assertEqual(headers["parent_id"], "p-1")
        self.assertEqual(headers["tenant"], {"a": [1.5, None]})
        self.assertIn("@", headers["origin"])
        self.assertRegex(headers["eta"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00$")
        self.assertEqual(envelope["properties"]["priority"], 4)
        self.assertEqual(json.loads(base64.b64decode(envelope["body"]))[0], [60000, 1])

    def test_used_up_retries_are_the_last_failure(self):
        self.worker("-c", "1")
        given = self.send("tests.retry_always", "ConnectionError", "gateway away")
        self.assertEqual(self.failure(given), ("ConnectionError", "builtins", ["gateway away"]))
        never = self.send("tests.retry_never", "ValueError", "no")
        self.assertEqual(self.failure(never), ("ValueError", "builtins", ["no"]))
        reason = self.send("tests.retry_always", None, "only words")
        self.assertIn("only words", str(self.failure(reason)))
        self.wait_idle()

    def test_backoff_stays_below_its_cap(self):
        self.worker("-c", "1")
        begun = time.monotonic()
        id = self.send("tests.retry_backoff", "ValueError", "again")
        self.failure(id)
        self.assertLess(time.monotonic() - begun, 0.1 + 0.2 + 0.2 + 0.5)


class Later(WorkerTest):
    def test_an_eta_is_kept_to_a_tenth_of_a_second(self):
        self.worker("-c", "1")
        channel = self.redis.pubsub()
        late = {}
        for ms in 150, 600, 1200, 1201, 1500:
            id, text = message("tests.noop", eta=iso(ms / 1000))
            late[id] = time.time() + ms / 1000
            channel.subscribe("celery-task-meta-" + id)
            self.redis.lpush("celery", text)
        wait_until(lambda: self.delayed() == 5, 1, "all are parked", 0.002)
        self.assertEqual(self.in_flight(), 0)
        seen = 0
        for event in channel.listen():
            if event["type"] != "message":
                continue
            id = json.loads(event["data"])["task_id"]
            lateness = time.time() - late[id]
            self.assertGreater(lateness, -0.002)
            self.assertLess(lateness, 0.1)
            seen += 1
            if seen == len(late):
                break
        channel.close()
        self.wait_idle()

    def test_what_another_node_parked_comes_too(self):
        self.worker("-c", "1")
        id, text = message("tests.noop", eta=iso(0.3))
        self.redis.zadd("celeriac:delayed:{celery}", {b"other@h:1/7.0\n" + text: int((time.time() + 0.3) * 1000)})
        self.get(id, 3)
        self.assertEqual(self.delayed(), 0)

    def test_expired_calls_are_revoked(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.noop", expires=iso(-1))
        self.assertEqual(self.wait(id)["status"], "REVOKED")
        self.assertEqual(self.result(id)["result"],
                         {"exc_type": "TaskRevokedError", "exc_message": ["expired"],
                          "exc_module": "celery.exceptions"})
        parked = self.send("tests.noop", eta=iso(0.6), expires=iso(0.3))
        self.assertEqual(self.wait(parked)["status"], "REVOKED")
        in_time = self.send("tests.noop", expires=iso(60))
        self.get(in_time)
        gate = self.send("tests.sleep", 300)
        self.running(worker, gate)
        waited = self.send("tests.noop", expires=iso(0.1))
        self.assertEqual(self.wait(waited)["status"], "REVOKED")
        self.wait_idle()


class Refused(WorkerTest):
    def test_unregistered_names_are_told_and_kept(self):
        self.worker("-c", "1")
        id, text = message("nobody.knows", 1)
        self.redis.lpush("celery", text)
        self.assertEqual(self.failure(id), ("NotRegistered", "celery.exceptions", ["nobody.knows"]))
        self.wait_idle()
        (entry,) = self.dead()
        self.assertEqual(entry[b"message"], text)
        self.assertEqual(entry[b"reason"], b"unregistered")
        self.assertEqual(entry[b"task"], b"nobody.knows")
        self.assertEqual(entry[b"task_id"], id.encode())

    def test_undecodable_bytes_are_kept_byte_for_byte(self):
        worker = self.worker("-c", "1")
        poison = [b"", b"not json", b"\xff\x00\n", b"[]", b'{"headers": {}}', b'{"headers": {"task": 5}}',
                  message("tests.noop", eta="")[1], message("tests.noop", eta="tomorrow")[1], b"\x00" * 100000]
        self.redis.lpush("celery", *poison)
        good = self.send("tests.add", 1, 1)
        self.assertEqual(self.get(good), 2)
        self.wait_idle()
        entries = self.dead()
        self.assertEqual([entry[b"message"] for entry in entries], poison)
        self.assertEqual({entry[b"reason"] for entry in entries}, {b"undecodable"})
        for entry in entries:
            self.assertTrue(entry[b"detail"])
        self.assertIsNone(worker.process.poll())

    def test_refused_content_types_are_told_and_kept(self):
        self.worker("-c", "1")
        id, text = message("tests.noop")
        text = text.replace(b"application/json", b"application/x-python-serialize")
        self.redis.lpush("celery", text)
        words = "Refusing to deserialize disabled content of type pickle (application/x-python-serialize)"
        self.assertEqual(self.failure(id), ("ContentDisallowed", "kombu.exceptions", [words]))
        self.wait_idle()
        self.assertEqual([entry[b"message"] for entry in self.dead()], [text])

    def test_bodies_that_cannot_be_read_are_told_and_kept(self):
        self.worker("-c", "1")
        id, text = message("tests.noop")
        envelope = json.loads(text)
        envelope["body"] = base64.b64encode(b'{"no": "list"}').decode()
        text = json.dumps(envelope).encode()
        self.redis.lpush("celery", text)
        self.assertEqual(self.wait(id)["status"], "FAILURE")
        self.wait_idle()
        self.assertEqual([entry[b"message"] for entry in self.dead()], [text])

    def test_protocol_1_runs(self):
        self.worker("-c", "1")
        body = {"task": "tests.add", "id": "old-1", "args": [20], "kwargs": {"y": 22}, "retries": 0, "eta": None,
                "expires": None, "utc": True}
        self.redis.lpush("celery", json.dumps({
            "body": base64.b64encode(json.dumps(body).encode()).decode(), "content-encoding": "utf-8",
            "content-type": "application/json", "headers": {},
            "properties": {"correlation_id": "old-1", "delivery_info": {"exchange": "", "routing_key": "celery"},
                           "body_encoding": "base64", "delivery_tag": "t"}}))
        self.assertEqual(self.get("old-1"), 42)
        self.wait_idle()


if __name__ == "__main__":
    unittest.main()
