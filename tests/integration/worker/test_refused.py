"""Redis refuses what a task came to: it is kept and told again, and the task does not run once more."""
import os
import time
import unittest

from integration.worker.calls import WorkerTest, iso, message
from support.servers import wait_until

KEPT_MAX = 64  # calls that are refused, until nothing more is claimed
DELAYED, DEAD = "celeriac:delayed:{celery}", "celeriac:dead:{celery}"


class Refused(WorkerTest):
    def wait_for_renewals(self, count):
        """Each looks for claims that nobody knows."""
        seen = set()

        def renewed():
            seen.update(lease for _, lease in self.redis.zrange("celeriac:nodes:{celery}", 0, -1, withscores=True))
            return len(seen) > count

        wait_until(renewed, 20, f"{count} renewals")

    def test_what_is_refused_does_not_go_back(self):
        self.redis.set(DELAYED, "no sorted set")
        worker = self.worker("-c", "1", "--lease", "2s")
        _, text = message("tests.noop", eta=iso(3600))
        self.redis.lpush("celery", text)
        wait_until(lambda: "Redis refuses what a task came to" in worker.text(), 10, "it is refused")
        self.wait_for_renewals(3)
        self.assertNotIn("go back", worker.text())
        self.assertEqual(worker.text().count("Task received"), 1)
        self.assertRegex(worker.text(), r"put right.*stays_in=celeriac:inflight:\{celery\}:.*WRONGTYPE.*celeriac:delayed")
        self.redis.delete(DELAYED)
        wait_until(lambda: self.delayed() == 1, 10, "it is parked")
        self.assertTrue(self.redis.zrange(DELAYED, 0, 0)[0].endswith(b"\n" + text))

    def test_a_ledger_that_is_none_is_not_why_a_task_runs_again(self):
        self.redis.set("celeriac:ledger:{celery}", "no hash")
        path = os.path.join(self.folder, "count")
        worker = self.worker("-c", "1", "--lease", "2s", "--track-ids")
        self.wait(self.send("tests.count", path), states=("SUCCESS",))
        self.send("tests.count", path, ignore_result=True)  # ends by a bare acknowledgement
        self.wait_idle()
        self.wait_for_renewals(2)
        self.assertEqual(os.path.getsize(path), 2)
        self.assertNotIn("go back", worker.text())

    def test_a_burial_that_is_refused_is_made_when_it_can_be(self):
        self.redis.set(DEAD, "no stream")
        worker = self.worker("-c", "1", "--lease", "2s")
        id = self.send("tests.crash_once")
        wait_until(lambda: "Redis refuses what a task came to" in worker.text(), 10, "it is refused")
        self.wait_for_renewals(3)
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)
        self.assertEqual(worker.text().count('"Task received" task=tests.crash_once'), 1)
        self.assertEqual(worker.text().count("told again until that is put right"), 1)
        self.assertRegex(worker.text(), r"put right.*stays_in=celeriac:inflight:\{celery\}:.*WRONGTYPE celeriac:dead")
        self.redis.delete(DEAD)
        self.assertEqual(self.failure(id)[0], "WorkerLostError")
        self.wait_idle()
        self.assertEqual(len(self.dead()), 1)
        worker.says("Redis has taken what it refused")

    def test_with_much_refused_nothing_more_is_claimed_until_it_is_taken(self):
        self.redis.set(DELAYED, "no sorted set")
        self.worker("-c", "2", "-l", "warning")
        batch = [message("tests.noop", eta=iso(3600))[1] for _ in range(500)]
        self.redis.lpush("celery", *batch)
        wait_until(lambda: self.in_flight() >= KEPT_MAX, 10, "many are claimed")
        self.wait_for_renewals(1)
        self.assertGreater(self.waiting(), 0)
        wait_until(lambda: self.in_flight() + self.staged() + self.waiting() == 500, 5, "none is lost")
        self.assertLess(self.in_flight(), 2 * KEPT_MAX)
        self.redis.delete(DELAYED)
        wait_until(lambda: self.delayed() == 500, 20, "all are parked")
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)

    def test_a_worker_full_of_refused_calls_is_alive(self):
        self.redis.set(DELAYED, "no sorted set")
        worker = self.worker("-c", "2", "-l", "warning", environment={"WATCHDOG_USEC": "400000"})
        self.redis.lpush("celery", *[message("tests.noop", eta=iso(3600))[1] for _ in range(200)])
        wait_until(lambda: self.in_flight() >= KEPT_MAX, 10, "many are claimed")
        time.sleep(16)  # so long without a claim is too long for a worker that wants one
        self.assertNotIn("watchdog is not told", worker.text())

    def test_a_result_that_cannot_be_looked_up_makes_no_circle(self):
        self.redis.rpush("celery-task-meta-odd", "no string")
        worker = self.worker("-c", "1")
        _, text = message("tests.count_once", os.path.join(self.folder, "count"), id="odd", redelivered=True)
        self.redis.lpush("celery", text)
        wait_until(lambda: self.delayed() == 1, 10, "it waits")
        worker.says("It cannot be looked up whether the task was done before")
        self.assertEqual(worker.text().count("Task received"), 1)

    def test_at_a_stop_it_stays_in_flight_for_others(self):
        self.redis.set(DELAYED, "no sorted set")
        worker = self.worker("-c", "1")
        self.send("tests.noop", eta=iso(3600))
        wait_until(lambda: "Redis refuses what a task came to" in worker.text(), 10, "it is refused")
        self.assertEqual(worker.stop(), 0)
        self.assertIn("Redis was not told what a task came to", worker.text())
        self.assertEqual(self.in_flight(), 1)
        self.redis.delete(DELAYED)
        self.worker("-c", "1", name="heir")
        wait_until(lambda: self.delayed() == 1, 20, "it is parked")
        self.wait_idle()


if __name__ == "__main__":
    unittest.main()
