"""Stopping warm and cold, new code, and reports: nothing is lost and nothing runs twice."""
import json
import os
import shutil
import signal
import time
import unittest

from integration.worker.calls import WorkerTest, children_of, message, wait_for_children
from support.servers import MODULES, wait_until


class Stop(WorkerTest):
    def waiting_ids(self):
        """Ids in the queue, the one served next first."""
        return [json.loads(text)["headers"]["id"] for text in reversed(self.redis.lrange("celery", 0, -1))]

    def test_idle(self):
        worker = self.worker("-c", "4")
        begun = time.monotonic()
        self.assertEqual(worker.stop(), 0)
        self.assertLess(time.monotonic() - begun, 1)
        self.assertIn("Worker stopped", worker.text())

    def test_warm_finishes_what_runs_and_leaves_the_rest(self):
        worker = self.worker("-c", "2")
        running = [self.send("tests.sleep", 600) for _ in range(2)]
        for id in running:
            self.running(worker, id)
        rest = [self.send("tests.noop") for _ in range(5)]
        begun = time.monotonic()
        self.assertEqual(worker.stop(), 0)
        self.assertLess(time.monotonic() - begun, 1.5)
        for id in running:
            self.assertEqual(self.result(id)["status"], "SUCCESS")
        for id in rest:
            self.assertEqual(self.result(id)["status"], "PENDING")
        self.assertEqual(self.waiting_ids(), rest)
        self.assertEqual(self.in_flight() + self.staged(), 0)

    def test_warm_gives_back_what_was_claimed_ahead_in_its_order(self):
        ids = []
        for start in range(0, 3000, 500):
            batch = [message("tests.noop") for _ in range(500)]
            ids += [id for id, _ in batch]
            self.redis.lpush("celery", *[text for _, text in batch])
        worker = self.worker("-c", "2", "-l", "error")
        worker.process.terminate()
        self.assertEqual(worker.wait(), 0)
        done = [id for id in ids if self.result(id)["status"] == "SUCCESS"]
        left = self.waiting_ids()
        self.assertGreater(len(left), 0, "the queue was drained before the signal came")
        self.assertEqual(len(done) + len(left), len(ids))
        self.assertEqual(left, ids[len(ids) - len(left):])
        self.assertEqual(self.in_flight() + self.staged(), 0)

    def test_warm_gives_back_in_its_order_what_was_held_for_revocations(self):
        worker = self.worker("-c", "4")
        self.redis.execute_command("ACL", "SETUSER", "default", "-xrange")  # the newest one stays unknown
        self.redis.set("celeriac:revoked:newest", "7-1")
        batch = [message("tests.noop") for _ in range(4)]
        self.redis.lpush("celery", *[text for _, text in batch])
        wait_until(lambda: self.in_flight() == 4, 5, "all are claimed and held")
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.waiting_ids(), [id for id, _ in batch])

    def test_cold_gives_running_tasks_back(self):
        worker = self.worker("-c", "2")
        running = [self.send("tests.sleep", 60000), self.send("tests.crash", "loop")]
        early = self.send("tests.noop")  # waits behind them
        for id in running:
            self.running(worker, id)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: "Warm stop" in worker.text(), 5, "the warm stop")
        time.sleep(0.2)
        self.assertIsNone(worker.process.poll())
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(5), 0)
        self.assertEqual(sorted(self.waiting_ids()), sorted([*running, early]))
        self.assertEqual(self.in_flight() + self.staged(), 0)
        for id in running:
            self.assertEqual(self.result(id)["status"], "PENDING")
        for text in self.redis.lrange("celery", 0, -1):
            self.assertEqual(json.loads(text)["headers"]["retries"], 0)

    def test_quit_is_cold_at_once(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.sleep", 60000)
        self.running(worker, id)
        begun = time.monotonic()
        worker.send_signal(signal.SIGQUIT)
        self.assertEqual(worker.wait(5), 0)
        self.assertLess(time.monotonic() - begun, 1)
        self.assertEqual(self.waiting_ids(), [id])
        again = self.worker("-c", "1", name="again")
        self.running(again, id)
        self.assertEqual(again.stop(signal.SIGQUIT), 0)

    def test_cold_does_not_run_twice_what_was_acknowledged(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.sleep_early", 60000)
        self.running(worker, id)
        wait_until(lambda: self.in_flight() == 0, 5, "acknowledged")
        worker.send_signal(signal.SIGQUIT)
        self.assertEqual(worker.wait(5), 0)
        self.assertEqual(self.failure(id)[0], "WorkerLostError")
        self.assertEqual(self.waiting(), 0)

    def test_a_warm_stop_that_lasts_too_long_turns_cold(self):
        path = os.path.join(self.folder, "worker.ini")
        with open(path, "w") as file:
            file.write("[worker]\nwarm_shutdown_limit = 400ms\n")
        worker = self.worker("-c", "1", "--config", path)
        id = self.send("tests.sleep", 60000)
        self.running(worker, id)
        begun = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(5), 0)
        self.assertGreater(time.monotonic() - begun, 0.4)
        self.assertEqual(self.waiting_ids(), [id])

    def test_a_retry_asked_for_while_stopping_is_parked(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.soft", 300, "caught", timelimit=[None, 0.2])
        gate = self.send("tests.retry", 60000, 1)
        self.running(worker, id)
        self.wait(gate, states=("RETRY",))
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.delayed(), 1)
        self.assertEqual(self.in_flight() + self.waiting(), 0)


class Reload(WorkerTest):
    def test_new_code_without_losing_a_call(self):
        module = os.path.join(self.folder, "module.so")
        shutil.copy(os.path.join(MODULES, "probe.so"), module)
        worker = self.worker("-c", "2", modules=[module])
        slow = self.send("tests.sleep", 800)
        self.running(worker, slow)
        before = set(children_of(worker.pid))
        worker.send_signal(signal.SIGHUP)
        wait_until(lambda: "New code is in use" in worker.text(), 10, "the new code")
        pids = {self.get(self.send("tests.request"))["pid"] for _ in range(10)}
        self.assertFalse(pids & before)
        self.assertEqual(self.result(slow)["status"], "PENDING")
        self.get(slow)
        wait_until(lambda: not before & set(children_of(worker.pid)), 5, "the old children end")
        wait_until(lambda: len(children_of(worker.pid)) == 2, 5, "two children")
        self.assertNotIn("level=error", worker.text())

    def test_under_load_every_call_runs_once(self):
        worker = self.worker("-c", "2", "-l", "warning")
        ids = []
        for _ in range(4):
            batch = [message("tests.add", i, 1) for i in range(500)]
            ids += [id for id, _ in batch]
            self.redis.lpush("celery", *[text for _, text in batch])
            worker.send_signal(signal.SIGHUP)
        for id in ids:
            self.wait(id, 30)
            self.assertEqual(self.result(id)["status"], "SUCCESS")
        self.wait_idle()

    def test_code_that_cannot_be_used_is_not(self):
        module = os.path.join(self.folder, "module.so")
        shutil.copy(os.path.join(MODULES, "probe.so"), module)
        worker = self.worker("-c", "2", modules=[module])
        wait_for_children(worker, 2)
        before = set(children_of(worker.pid))
        os.unlink(module)
        shutil.copy(os.path.join(MODULES, "broken_empty.so"), module)
        worker.send_signal(signal.SIGHUP)
        wait_until(lambda: "New code cannot be used" in worker.text(), 10, "the refusal")
        self.assertEqual(self.get(self.send("tests.add", 1, 1)), 2)
        self.assertEqual(set(children_of(worker.pid)), before)
        os.unlink(module)
        shutil.copy(os.path.join(MODULES, "probe.so"), module)
        worker.send_signal(signal.SIGHUP)
        wait_until(lambda: "New code is in use" in worker.text(), 10, "the next one")
        self.assertEqual(self.get(self.send("tests.add", 1, 1)), 2)

    def test_a_report(self):
        worker = self.worker("-c", "2")
        wait_for_children(worker, 2)
        self.get(self.send("tests.add", 1, 1))
        id = self.send("tests.sleep", 1000)
        self.running(worker, id)
        report = worker.report(children=2)
        self.assertEqual(report.count("msg=Child "), 2)
        self.assertRegex(report, r"msg=Report .*received=2 .*running=1 idle=1 .*succeeded=1")
        self.assertRegex(report, rf"msg=Child .*state=BUSY .*task=tests.sleep task_id={id}")


if __name__ == "__main__":
    unittest.main()
