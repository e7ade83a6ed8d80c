"""Children that crash, loop, exceed their time or are killed: one task and one process, no more."""
import json
import os
import re
import signal
import time
import unittest

from integration.worker.calls import WorkerTest, children_of
from support.servers import wait_until

LOST = ("WorkerLostError", "billiard.exceptions")


class Crash(WorkerTest):
    def obituaries(self, worker):
        return [line for line in worker.text().splitlines() if 'msg="Child ended"' in line]

    def expect_whole_pool(self, worker, count):
        """So many living children and no zombie."""
        def whole():
            states = children_of(worker.pid)
            return len(states) == count and "Z" not in states.values()

        wait_until(whole, 10, f"{count} children, now {children_of(worker.pid)}")

    def test_every_way_to_die(self):
        worker = self.worker("-c", "2")
        ways = {
            "segv": r"signal 11 \(SIGSEGV\)", "abort": r"signal 6 \(SIGABRT\)", "kill": r"signal 9 \(SIGKILL\)",
            "exit0": "exitcode 0", "exit3": "exitcode 3",
        }
        for count, (how, words) in enumerate(ways.items(), 1):
            with self.subTest(how=how):
                sibling = self.send("tests.sleep", 300)
                id = self.send("tests.crash", how)
                kind, module, text = self.failure(id)
                self.assertEqual((kind, module), LOST)
                self.assertRegex(text[0], rf"^Worker exited prematurely: {words} Job: \d+\.$")
                self.get(sibling)
                wait_until(lambda: len(self.obituaries(worker)) == 2 * count, 5, "two obituaries more")
                line = self.obituaries(worker)[-1]
                self.assertRegex(line, f'level=error .*how="{words}" status=\\d+ signal=\\d+ task_id={id} '
                                       r"task=tests.crash tasks=\d+ peak_rss=[1-9]\d{6,} lived=\d")
        self.expect_whole_pool(worker, 2)
        self.wait_idle()
        self.assertEqual(len(self.obituaries(worker)), 2 * len(ways))
        self.assertEqual(self.get(self.send("tests.add", 1, 1)), 2)

    def test_a_crash_loop_is_set_aside_with_its_evidence(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.crash", "segv")
        self.assertEqual(self.failure(id)[:2], LOST)
        self.wait_idle()
        worker.says("Task's process died, delivered again", 1)
        [dead] = self.dead()
        self.assertEqual((dead[b"reason"], dead[b"task"], dead[b"task_id"]), (b"crash", b"tests.crash", id.encode()))
        evidence = json.loads(dead[b"evidence"])
        self.assertEqual((evidence["signal"], evidence["crashes"], evidence["progress"]), (11, 2, None))
        self.assertGreater(evidence["peak_rss"], 10**6)
        headers = json.loads(dead[b"message"])["headers"]
        self.assertEqual((headers["redelivered"], headers["celeriac_crashes"]), (True, 1))

    def test_a_task_may_want_its_first_death_to_be_the_last(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.crash_once", "kill")
        self.assertEqual(self.failure(id)[:2], LOST)
        self.wait_idle()
        self.assertEqual(len(self.obituaries(worker)), 1)
        self.assertEqual(len(self.dead()), 1)

    def test_an_idle_child_is_replaced(self):
        worker = self.worker("-c", "2")
        victim = self.get(self.send("tests.request"))["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(self.obituaries(worker)) == 1, 5, "the obituary")
        self.expect_whole_pool(worker, 2)
        self.assertNotIn(victim, children_of(worker.pid))
        self.assertNotIn("task_id=", self.obituaries(worker)[0])

    def test_an_endless_loop_ends_with_its_limit_and_hinders_nobody(self):
        worker = self.worker("-c", "2")
        begun = time.monotonic()
        id = self.send("tests.hard_limited")
        self.running(worker, id)
        for _ in range(5):
            self.assertEqual(self.get(self.send("tests.add", 1, 1), 0.4), 2)
        self.assertEqual(self.failure(id), ("TimeLimitExceeded", "billiard.exceptions", [0.5]))
        self.assertAlmostEqual(time.monotonic() - begun, 0.5, delta=0.15)
        self.assertIsNone(self.result(id)["traceback"])
        wait_until(lambda: len(self.obituaries(worker)) == 1, 5, "the obituary")
        self.assertIn("SIGKILL", self.obituaries(worker)[0])
        self.expect_whole_pool(worker, 2)
        self.wait_idle()

    def test_an_early_acknowledged_crash_is_told_too(self):
        self.worker("-c", "1")
        id = self.send("tests.sleep_early", 5000, timelimit=[0.2, None])
        self.assertEqual(self.failure(id), ("TimeLimitExceeded", "billiard.exceptions", [0.2]))

    def test_crash_after_crash_does_not_stop_the_others(self):
        worker = self.worker("-c", "3", "-l", "error")
        crashes = [self.send("tests.crash", "segv") for _ in range(30)]
        calls = [self.send("tests.add", i, i) for i in range(200)]
        for i, id in enumerate(calls):
            self.assertEqual(self.get(id, 30), 2 * i)
        for id in crashes:
            self.assertEqual(self.failure(id, 30)[:2], LOST)
        self.wait_idle()
        self.expect_whole_pool(worker, 3)

    def test_nobody_survives_the_supervisor(self):
        worker = self.worker("-c", "2")
        id = self.send("tests.crash", "loop")
        self.running(worker, id)
        pids = list(children_of(worker.pid))
        self.assertEqual(len(pids), 2)
        worker.process.kill()
        worker.wait()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 5, "children are gone")
        self.assertEqual(self.in_flight(), 1)  # its message is not lost


class Limits(WorkerTest):
    SOFT = ("SoftTimeLimitExceeded", "billiard.exceptions", [])

    def test_the_soft_limit_is_told_to_the_task(self):
        worker = self.worker("-c", "2")
        begun = time.monotonic()
        id = self.send("tests.soft_limited")
        self.assertEqual(self.failure(id), self.SOFT)
        self.assertAlmostEqual(time.monotonic() - begun, 0.22, delta=0.1)
        busy = self.send("tests.soft_limited", 60000, "busy")
        self.assertEqual(self.failure(busy), self.SOFT)
        caught = self.send("tests.soft_limited", 60000, "caught")
        self.assertEqual(self.get(caught), "cleaned up")
        self.assertNotIn("Child ended", worker.text())

    def test_a_callers_limits_go_first(self):
        self.worker("-c", "2", "--time-limit", "60s")
        id = self.send("tests.soft", 60000, timelimit=[None, 0.1])
        self.assertEqual(self.failure(id), self.SOFT)
        id = self.send("tests.crash", "loop", timelimit=[1, None])
        self.assertEqual(self.failure(id), ("TimeLimitExceeded", "billiard.exceptions", [1]))

    def test_the_workers_limits_hold_for_the_rest(self):
        self.worker("-c", "2", "--time-limit", "600ms", "--soft-time-limit", "200ms")
        self.assertEqual(self.failure(self.send("tests.soft")), self.SOFT)
        self.assertEqual(self.failure(self.send("tests.crash", "loop"))[0], "TimeLimitExceeded")

    def test_the_next_task_has_a_clock_of_its_own(self):
        worker = self.worker("-c", "1")
        for _ in range(5):
            self.get(self.send("tests.sleep", 100, timelimit=[0.25, 0.2]))
        self.assertNotIn("limit exceeded", worker.text())


class Recycling(WorkerTest):
    def test_a_child_is_replaced_after_so_many_tasks(self):
        worker = self.worker("-c", "1", "--max-tasks-per-child", "3")
        pids = [self.get(self.send("tests.request"))["pid"] for _ in range(7)]
        self.assertEqual(len(set(pids[0:3])), 1)
        self.assertEqual(len(set(pids[3:6])), 1)
        self.assertEqual(len(set(pids)), 3)
        ends = re.findall(r'level=(\w+) msg="Child ended".*tasks=(\d+)', worker.text())
        self.assertEqual(ends, [("info", "3"), ("info", "3")])

    def test_replacing_loses_nothing_under_load(self):
        self.worker("-c", "3", "-l", "error", "--max-tasks-per-child", "7")
        ids = [self.send("tests.add", i, 0) for i in range(500)]
        for i, id in enumerate(ids):
            self.assertEqual(self.get(id, 30), i)
        self.wait_idle()


if __name__ == "__main__":
    unittest.main()
