"""A beat looks after what no worker is there for: the tasks of lost workers, and what is due."""
import json
import os
import signal
import time
import unittest

from integration.worker.calls import WorkerTest, iso, message
from support.servers import CELERIAC, Daemon, wait_until

NOTHING_TO_FIRE = "[beat never]\ntask = test.never\nevery = 1h\nenabled = no\n"


class Keeping(WorkerTest):
    def beat(self, *arguments):
        path = os.path.join(self.folder, "beat.ini")
        with open(path, "w") as file:
            file.write(NOTHING_TO_FIRE)
        daemon = Daemon([CELERIAC, "beat", "--config", path, "-b", self.server.url, *arguments], self.folder, "beat",
                        ready="Beat ready")
        self.addCleanup(daemon.stop)
        return daemon.start()

    def test_tasks_of_a_lost_worker_go_back(self):
        worker = self.worker("-c", "1", "-Q", "celery,mail", "--lease", "2s")
        id = self.send("tests.sleep", 60000, queue="mail")
        wait_until(lambda: self.in_flight("mail") == 1, 10, "it is taken")
        self.beat("--lease", "2s")
        worker.stop(signal.SIGKILL)
        begun = time.monotonic()
        wait_until(lambda: self.waiting("mail") == 1, 20, "it waits again")
        print(f"waits again after {time.monotonic() - begun:.1f} s")
        call = json.loads(self.redis.lindex("mail", 0))
        self.assertEqual(call["headers"]["id"], id)
        self.assertIs(call["properties"]["delivery_info"].get("redelivered"), True)
        self.assertEqual(self.in_flight("mail"), 0)

    def test_a_queue_that_is_refused_keeps_no_other_from_rescue(self):
        self.worker("-c", "1", "-Q", "celery,mail").stop()  # the queues are known by it
        self.redis.rename("celeriac:nodes:{mail}", "saved")
        self.redis.set("celeriac:nodes:{mail}", "text")
        beat = self.beat("--lease", "2s")
        refused = "Redis refuses the rescue of what lost workers held"
        wait_until(lambda: refused in beat.text(), 10, "it says so")
        for queue, nodes in (("celery", "celeriac:nodes:{celery}"), ("mail", "saved")):
            self.redis.zadd(nodes, {"gone@test:1": 1000})
            self.redis.hset("celeriac:inflight:{%s}:gone@test:1" % queue, "1.0", message("tests.add", 1, 2)[1])
        wait_until(lambda: self.waiting("celery") == 1, 20, "the other queue is rescued")
        time.sleep(1)
        self.assertEqual(self.in_flight("mail"), 1)
        self.assertEqual(beat.text().count(refused), 1)
        self.assertIn("queue=mail", beat.text())
        self.assertIn("WRONGTYPE celeriac:nodes:{mail} is a string", beat.text())
        self.redis.rename("saved", "celeriac:nodes:{mail}")
        wait_until(lambda: self.waiting("mail") == 1, 20, "and then the refused one")
        wait_until(lambda: "refuses the rescue no more" in beat.text(), 20, "it says so")

    def test_one_node_that_is_refused_keeps_no_other_from_rescue(self):
        self.worker("-c", "1").stop()
        self.redis.zadd("celeriac:nodes:{celery}", {"bad@test:1": 1000, "gone@test:1": 2000})
        self.redis.set("celeriac:inflight:{celery}:bad@test:1", "text")
        self.redis.hset("celeriac:inflight:{celery}:gone@test:1", "1.0", message("tests.add", 1, 2)[1])
        beat = self.beat("--lease", "2s")
        wait_until(lambda: self.waiting() == 1, 20, "the other node's is rescued")
        beat.says("node=bad@test:1")
        self.assertEqual(self.redis.zscore("celeriac:nodes:{celery}", "bad@test:1"), 1000)

    def test_who_waits_for_what_it_buries_hears_so(self):
        self.worker("-c", "1").stop()  # the queue is known by it
        id, text = message("tests.add", 1, 2, celeriac_deliveries=10)
        self.redis.zadd("celeriac:nodes:{celery}", {"gone@test:1": 1000})
        self.redis.hset("celeriac:inflight:{celery}:gone@test:1", "1.0", text)
        self.beat()
        self.assertEqual(self.failure(id, 20)[0], "WorkerLostError")
        wait_until(self.dead, 5, "it is in quarantine")
        self.assertEqual(self.dead()[0][b"reason"], b"max deliveries")

    def test_what_is_due_is_promoted_without_a_worker(self):
        worker = self.worker("-c", "1")
        self.send("tests.add", 1, 2, eta=iso(3))
        wait_until(lambda: self.delayed() == 1, 10, "it is parked")
        worker.stop()
        self.beat()
        wait_until(lambda: self.waiting() == 1, 20, "it waits at its time")
        self.assertEqual(self.delayed(), 0)

    def test_a_queue_that_is_new_is_found(self):
        beat = self.beat("-l", "debug")
        worker = self.worker("-c", "1", "-Q", "late")
        wait_until(lambda: "queue=late" in beat.text(), 20, "the queue is looked after")
        worker.stop()


if __name__ == "__main__":
    unittest.main()
