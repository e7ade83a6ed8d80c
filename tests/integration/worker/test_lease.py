"""A worker is lost as a whole: others take its tasks over, once, and it knows when it was given up."""
import base64
import json
import signal
import time
import unittest

from integration.worker.calls import WorkerTest, children_of, message
from support.servers import RedisServer, celeriac, celeriac_worker, wait_until

LEASE = "2s"
RECOVERY = 3.0  # of a lease of 2 s


class Lease(WorkerTest):
    def node(self, name, *arguments, **options):
        return self.worker("-n", name + "@test", "--lease", LEASE, *arguments, name=name, **options)

    def counts(self, queue="celery"):
        return {key.decode(): int(value) for key, value in self.redis.hgetall("celeriac:counts:{%s}" % queue).items()}

    def starts(self, path):
        with open(path) as file:
            return len(file.read().split())

    def assert_adds_up(self, queue="celery"):
        counts = self.counts(queue)
        held = self.in_flight(queue) + self.delayed(queue) + len(self.dead(queue))
        ended = sum(counts.get(key, 0) for key in ("done", "expired", "revoked", "dropped", "cancelled"))
        self.assertEqual(counts.get("claimed", 0) - counts.get("returned", 0), held + ended, counts)

    def test_a_killed_worker_s_tasks_are_taken_over(self):
        lost = self.node("lost", "-c", "2")
        running = [self.send("tests.sleep", 4500) for _ in range(2)]
        for id in running:
            self.running(lost, id)
        heir = self.node("heir", "-c", "4")
        time.sleep(3.5)  # who has just started does not believe at once that others are dead
        begun = time.monotonic()
        lost.stop(signal.SIGKILL)
        wait_until(lambda: "went back" in heir.text(), RECOVERY, "the tasks are taken over")
        self.assertLess(time.monotonic() - begun, RECOVERY)
        for id in running:
            self.assertEqual(self.wait(id, 10)["status"], "SUCCESS")
        self.wait_idle()
        self.assert_adds_up()
        self.assertEqual(self.counts()["returned"], 2)

    def test_what_is_staged_late_for_each_of_many_lost_nodes_is_found(self):
        now, ids = int(time.time() * 1000), []
        for at in range(40):
            id, text = message("tests.add", 1, 2)
            ids.append(id)
            self.redis.zadd("celeriac:nodes:{celery}", {f"ghost{at}@test:1": -(now - 60000 - at)})
            self.redis.lpush("celeriac:staging:{celery}:ghost%d@test:1" % at, text)
        self.node("heir", "-c", "1")
        for id in ids:
            self.assertEqual(self.get(id, 40), 3)

    def test_what_speaks_protocol_1_is_counted_too(self):
        body = json.dumps({"task": "tests.sleep", "id": "old-1", "args": [60000], "kwargs": {}, "retries": 0})
        self.redis.lpush("celery", json.dumps({
            "body": base64.b64encode(body.encode()).decode(), "content-encoding": "utf-8",
            "content-type": "application/json", "headers": {},
            "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "celery"},
                           "delivery_tag": "old-tag", "correlation_id": "old-1"}}))
        lost = self.node("lost", "-c", "1")
        self.running(lost, "old-1")
        lost.stop(signal.SIGKILL)
        heir = self.node("heir", "-c", "1")
        self.running(heir, "old-1", 20)
        messages = [text for key in self.redis.scan_iter("celeriac:inflight:{celery}:*") for text in self.redis.hvals(key)]
        self.assertEqual([json.loads(text)["headers"]["celeriac_deliveries"] for text in messages], [1])

    def test_what_comes_back_is_marked_and_served_first_in_its_order(self):
        lost = self.node("lost", "-c", "3")
        wait_until(lambda: self.redis.zcard("celeriac:nodes:{celery}"), 5, "the lease")
        held = [self.send("tests.sleep", 60000) for _ in range(3)]
        for id in held:
            self.running(lost, id)
        lost.stop(signal.SIGKILL)
        heir = self.node("heir", "-c", "1", "-Q", "other,celery")
        wait_until(lambda: "went back" in heir.text(), 10, "the tasks are taken over")
        first = wait_until(lambda: [i for i in held if i in heir.text()], 5, "one of them is received")
        self.assertEqual(first, held[:1])
        waiting = [json.loads(text) for text in reversed(self.redis.lrange("celery", 0, -1))]
        self.assertEqual([call["headers"]["id"] for call in waiting], held[1:])
        for call in waiting:
            self.assertTrue(call["headers"]["redelivered"])
            self.assertTrue(call["properties"]["delivery_info"]["redelivered"])
            self.assertEqual(call["headers"]["celeriac_deliveries"], 1)

    def test_what_was_staged_comes_back_as_it_was(self):
        self.redis.zadd("celeriac:nodes:{celery}", {"gone@test:1": 1000})
        id, text = message("tests.add", 1, 2)
        self.redis.lpush("celeriac:staging:{celery}:gone@test:1", text)
        self.node("heir", "-c", "1")
        self.assertEqual(self.get(id, 8), 3)

    def test_a_stopped_worker_that_goes_on_is_given_up_and_starts_anew(self):
        frozen = self.node("frozen", "-c", "2")
        id, count = self.send("tests.sleep", 2500), self.send("tests.sleep", 2500)
        for each in (id, count):
            self.running(frozen, each)
        old = set(children_of(frozen.pid))
        heir = self.node("heir", "-c", "2")
        frozen.send_signal(signal.SIGSTOP)
        wait_until(lambda: "went back" in heir.text(), 8, "the tasks are taken over")
        for each in (id, count):
            self.assertEqual(self.wait(each, 10)["status"], "SUCCESS")
        frozen.send_signal(signal.SIGCONT)
        wait_until(lambda: "The lease was lost" in frozen.text(), 5, "it learns that")
        wait_until(lambda: frozen.text().count("Worker ready") == 2, 10, "it starts anew")
        self.assertFalse(old & set(children_of(frozen.pid)))
        heir.says("Task succeeded", 2)
        heir.stop()
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)
        self.wait_idle()
        self.assertEqual(self.counts()["done"], 3)  # what came late from the frozen one was not recorded
        self.assert_adds_up()
        self.assertEqual(frozen.stop(), 0)

    def test_a_worker_that_lost_its_lease_can_be_stopped(self):
        worker = self.node("given_up", "-c", "1")
        id = self.send("tests.sleep", 60000)
        self.running(worker, id)
        node = self.redis.zrange("celeriac:nodes:{celery}", 0, 0)[0]
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: "Warm stop" in worker.text(), 5, "it drains")
        self.redis.zadd("celeriac:nodes:{celery}", {node: -1})
        self.assertEqual(worker.wait(10), 0)
        self.assertEqual(self.in_flight(), 1)  # for whoever rescues it

    def test_a_lease_lost_on_one_queue_frees_the_tasks_of_the_others_at_once(self):
        worker = self.worker("-c", "2", "-Q", "celery,mail", "--lease", "2min")
        id = self.send("tests.sleep", 1500, queue="mail")
        self.running(worker, id)
        node = self.redis.zrange("celeriac:nodes:{celery}", 0, 0)[0]
        self.redis.zadd("celeriac:nodes:{celery}", {node: -1})
        self.send("tests.add", 1, 2)  # the claim finds that
        wait_until(lambda: worker.text().count("Worker ready") == 2, 20, "it starts anew")
        self.assertEqual(self.redis.zscore("celeriac:nodes:{mail}", node), 0)
        self.assertEqual(self.redis.zscore("celeriac:nodes:{celery}", node), -1)
        self.assertEqual(self.wait(id, 60)["status"], "SUCCESS")  # a look each 15 s
        self.assertEqual(worker.stop(), 0)

    def refused_at_start(self, status, words, *arguments):
        worker = celeriac_worker(self.server, self.folder, ["probe"], "-c", "1", *arguments, name="refused")
        worker.ready = None
        self.addCleanup(worker.stop)
        worker.start()
        self.assertEqual(worker.wait(20), status, worker.text())
        self.assertEqual(worker.text().count("level=error"), 1, worker.text())
        self.assertIn("Redis refuses its lease on a queue", worker.text())
        for word in words:
            self.assertIn(word, worker.text())

    def test_a_foreign_key_in_place_of_the_leases_ends_a_worker_that_starts(self):
        self.redis.set("celeriac:nodes:{mail}", "text")
        self.refused_at_start(70, ["queue=mail", "WRONGTYPE celeriac:nodes:{mail} is a string", "remove it"], "-Q", "celery,mail")

    def test_a_missing_permission_ends_a_worker_that_starts(self):
        self.redis.execute_command("ACL", "SETUSER", "default", "-zadd")
        self.refused_at_start(77, ["queue=celery", "ACL LOG"])

    def test_one_for_the_keys_does_so_too(self):
        self.redis.execute_command("ACL", "SETUSER", "default", "resetkeys", "~celery", "~_kombu*")
        self.refused_at_start(77, ["queue=celery", "NOPERM", "ACL LOG"])

    def test_a_worker_that_starts_waits_for_what_passes_and_says_so(self):
        self.redis.config_set("maxmemory", 1)
        worker = celeriac_worker(self.server, self.folder, ["probe"], "-c", "1", "--lease", "2s")
        worker.ready = None
        self.addCleanup(worker.stop)
        worker.start()
        wait_until(lambda: "There is no lease on a queue yet" in worker.text(), 10, "it says so")
        time.sleep(2.5)
        self.assertEqual(worker.text().count("There is no lease on a queue yet"), 1)
        self.assertIn("OOM", worker.text())
        self.redis.config_set("maxmemory", 0)
        wait_until(lambda: "Worker ready" in worker.text(), 10, "it has its lease")

    def test_a_renewal_that_is_refused_later_is_told_once(self):
        worker = self.node("refused", "-c", "1")
        self.redis.execute_command("ACL", "SETUSER", "default", "-zadd")
        wait_until(lambda: "Redis refuses to renew the lease" in worker.text(), 10, "it says so")
        time.sleep(2.5)
        self.assertEqual(worker.text().count("Redis refuses to renew the lease"), 1)
        self.redis.execute_command("ACL", "SETUSER", "default", "+zadd")
        wait_until(lambda: "The lease on a queue is granted" in worker.text(), 10, "it goes on")
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)
        self.assertNotIn("The lease was lost", worker.text())

    def test_an_outage_longer_than_the_lease_kills_nobody(self):
        self.server.stop()
        self.server = RedisServer(self.folder, options={"appendonly": "yes", "appendfsync": "always"})
        self.addCleanup(self.server.stop)
        self.server.start()
        nodes = [self.node(name, "-c", "1") for name in ("one", "two")]
        ids = [self.send("tests.sleep", 5000) for _ in range(2)]
        wait_until(lambda: all(any(id in node.text() for node in nodes) for id in ids), 5, "both run")
        self.server.stop(signal.SIGKILL)
        time.sleep(3.5)
        self.server.start()
        self.redis.connection_pool.disconnect()
        wait_until(lambda: celeriac("queues", redis=self.server).returncode == 0, 10, "Redis has read its file")
        for id in ids:
            self.assertEqual(self.wait(id, 15)["status"], "SUCCESS")
        for node in nodes:
            self.assertNotIn("The lease was lost", node.text())
            self.assertNotIn("went back", node.text())
            node.says("Task succeeded", 1)

    def test_writes_refused_for_longer_than_the_lease_kill_nobody(self):
        """Redis answers, but has too few replicas: no lease can be renewed, and all look over."""
        nodes = [self.node(name, "-c", "1") for name in ("one", "two")]
        ids = [self.send("tests.sleep", 7000) for _ in range(2)]
        wait_until(lambda: all(any(id in node.text() for node in nodes) for id in ids), 5, "both run")
        time.sleep(3.5)  # until they believe that others are dead
        self.redis.config_set("min-replicas-to-write", 1)
        time.sleep(5)
        self.redis.config_set("min-replicas-to-write", 0)
        for id in ids:
            self.assertEqual(self.wait(id, 15)["status"], "SUCCESS")
        for node in nodes:
            self.assertNotIn("The lease was lost", node.text())
            self.assertNotIn("went back", node.text())
            node.says("Task succeeded", 1)

    def test_progress_does_not_cover_what_others_made_of_the_call(self):
        """As when it was put back and failed elsewhere, before this worker learns that it was given up."""
        worker = self.node("late", "-c", "1")
        id = self.send("tests.progress", 20, 50)
        self.wait(id, states=("PROGRESS",))
        (key,) = self.redis.scan_iter("celeriac:inflight:{celery}:*")
        with self.redis.pipeline() as step:
            step.delete(key)
            step.set("celery-task-meta-" + id, json.dumps({"status": "FAILURE", "task_id": id}))
            step.execute()
        wait_until(lambda: "The claim was lost" in worker.text(), 10, "it has ended here too")
        self.assertEqual(self.result(id)["status"], "FAILURE")

    def test_a_claim_that_nobody_knows_goes_back(self):
        """As after a failover that lost the acknowledgement of a message."""
        worker = self.node("forgetful", "-c", "1")
        node = self.redis.zrange("celeriac:nodes:{celery}", 0, 0)[0].decode()
        id, text = message("tests.request")
        self.redis.hset("celeriac:inflight:{celery}:" + node, "999999.0", text)
        self.get(id, 5)
        self.wait_idle()
        worker.says("Claims that nobody works on go back")

    def test_what_nobody_knows_too_often_is_set_aside_and_no_worker_is_blamed(self):
        self.node("forgetful", "-c", "1")
        node = self.redis.zrange("celeriac:nodes:{celery}", 0, 0)[0].decode()
        id, text = message("tests.request", celeriac_deliveries=10)
        self.redis.hset("celeriac:inflight:{celery}:" + node, "999999.0", text)
        self.assertIn("11 times this message came back", self.failure(id, 8)[2][0])
        self.assertEqual(self.dead()[0][b"reason"], b"max deliveries")

    def test_a_message_that_loses_every_worker_is_set_aside(self):
        id, text = message("tests.sleep", 60000, celeriac_deliveries=10)
        self.redis.zadd("celeriac:nodes:{celery}", {"gone@test:1": 1000})
        self.redis.hset("celeriac:inflight:{celery}:gone@test:1", "1.0", text)
        worker = self.node("heir", "-c", "1")
        type, module, arguments = self.failure(id, 8)
        self.assertEqual((type, module), ("WorkerLostError", "billiard.exceptions"))
        self.assertIn("11 workers were lost", arguments[0])
        wait_until(lambda: self.dead(), 5, "it is in quarantine")
        [dead] = self.dead()
        self.assertEqual(dead[b"message"], text)
        self.assertEqual(dead[b"reason"], b"max deliveries")
        self.assertEqual(json.loads(dead[b"evidence"]), {"deliveries": 11})
        worker.says("Task put into quarantine")

    def test_a_message_that_cannot_be_read_comes_back_byte_for_byte(self):
        self.redis.zadd("celeriac:nodes:{celery}", {"gone@test:1": 1000})
        self.redis.hset("celeriac:inflight:{celery}:gone@test:1", "1.0", b"\xff no message")
        self.node("heir", "-c", "1")
        wait_until(lambda: self.dead(), 8, "it is in quarantine")
        self.assertEqual(self.dead()[0][b"message"], b"\xff no message")

    def test_a_clean_stop_leaves_nothing_to_rescue(self):
        worker = self.node("clean", "-c", "1")
        self.get(self.send("tests.add", 1, 2))
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.redis.zrange("celeriac:nodes:{celery}", 0, -1, withscores=True)[0][1], 0)
        self.assertEqual(list(self.redis.scan_iter("celeriac:inflight:*")), [])
        self.assertEqual(list(self.redis.scan_iter("celeriac:staging:*")), [])

    def test_many_tasks_of_a_lost_worker_all_come_back(self):
        """More than one batch."""
        ids = []
        self.redis.zadd("celeriac:nodes:{celery}", {"gone@test:1": 1000})
        for n in range(300):
            id, text = message("tests.add", n, 1)
            ids.append(id)
            self.redis.hset("celeriac:inflight:{celery}:gone@test:1", f"{n + 1}.{(0, 3, 6, 9)[n % 4]}", text)
        self.node("heir", "-c", "2", "-l", "warning")
        for n, id in enumerate(ids):
            self.assertEqual(self.get(id, 15), n + 1)
        self.wait_idle()


if __name__ == "__main__":
    unittest.main()
