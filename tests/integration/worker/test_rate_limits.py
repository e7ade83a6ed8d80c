"""Calls whose tasks may not begin so often: they wait for their turn, in their order, and nobody waits for them."""
import json
import signal
import statistics
import time
import unittest

from integration.worker.calls import WorkerTest, iso, message
from support.servers import celeriac, revoke, wait_until


class RateLimits(WorkerTest):
    def worker(self, *arguments, **options):
        return super().worker(*arguments, modules=("bounded",), **options)

    def times(self, ids, seconds=30):
        """When each ran, in seconds."""
        return [self.get(id, seconds) / 1e6 for id in ids]

    def expect_rate(self, times, rate, tolerance=0.2):
        took = times[-1] - times[0]
        expected = (len(times) - 1) / rate
        self.assertEqual(times, sorted(times), "in their order")
        self.assertGreater(took, expected * (1 - tolerance))
        self.assertLess(took, expected * (1 + tolerance))

    def push(self, task, count, queue="celery", **options):
        """So many calls in one step."""
        calls = [message(task, number, queue=queue, **options) for number in range(count)]
        self.redis.lpush(queue, *[text for _, text in calls])
        return [id for id, _ in calls]

    def test_ten_a_second_in_order_while_others_pass(self):
        worker = self.worker("-c", "1")
        ids = self.push("tests.time_10_s", 31)
        begun, others = time.monotonic(), []
        while time.monotonic() < begun + 2.5:
            sent = time.time()
            others.append(self.get(self.send("tests.time")) / 1e6 - sent)
            time.sleep(0.02)
        self.expect_rate(self.times(ids), 10)
        self.assertLess(statistics.median(others), 0.1)
        worker.send_signal(signal.SIGUSR1)
        worker.says("msg=Report.* limited=0 ")
        self.wait_idle()
        self.assertEqual(self.delayed(), 0)

    def test_what_waits_fills_no_memory(self):
        worker = self.worker("-c", "2")
        ids = self.push("tests.time_1_h", 3000)
        last = self.send("tests.time")
        self.get(last, 60)  # behind all of them
        self.get(ids[0])
        wait_until(lambda: self.delayed() == 2999, 20, "all but one are parked")
        self.wait_idle()
        dues = self.redis.zrange("celeriac:delayed:{celery}", 0, -1, withscores=True)
        order = [json.loads(member.partition(b"\n")[2])["headers"]["id"] for member, _ in dues]
        self.assertEqual(order, ids[1:])
        self.assertAlmostEqual(dues[0][1] / 1000, time.time() + 3600, delta=120)
        self.assertAlmostEqual((dues[-1][1] - dues[0][1]) / 1000, 2998 * 3600, delta=1)
        worker.send_signal(signal.SIGUSR1)
        worker.says("msg=Report.* received=3001 held=0 limited=0 ")

    def test_they_come_back_in_their_order(self):
        self.worker("-c", "1")
        first = self.push("tests.time_10_s", 40)
        time.sleep(1)
        more = self.push("tests.time_10_s", 10)
        self.expect_rate(self.times(first + more), 10)

    def test_a_high_rate_is_held(self):
        self.worker("-c", "1")
        times = self.times(self.push("tests.time_200_s", 600))
        self.expect_rate(sorted(times), 200)  # when the machine is late, one may be a few places off

    def test_what_expires_or_is_revoked_meanwhile_does_not_run(self):
        self.worker("-c", "1")
        ids = self.push("tests.time_10_s", 8)
        late = self.send("tests.time_10_s", expires=iso(0.4))
        revoked = self.send("tests.time_10_s")
        far = self.push("tests.time_10_s", 20)  # parked
        revoke(self.redis, revoked)
        revoke(self.redis, far[-1])
        for id in (late, revoked, far[-1]):
            self.assertEqual(self.wait(id)["status"], "REVOKED")
        self.expect_rate(self.times(ids), 10)
        self.times(far[:-1])
        self.wait_idle()

    def test_an_early_acknowledged_call_is_acknowledged_when_it_runs(self):
        worker = self.worker("-c", "1")
        ids = self.push("tests.time_early", 10)
        wait_until(lambda: self.result(ids[0])["status"] == "SUCCESS", 10, "the first")
        self.assertGreater(self.in_flight() + self.delayed() + self.waiting(), 5)
        worker.stop(signal.SIGKILL)
        self.worker("-c", "1", name="second")
        self.expect_rate(self.times(ids)[2:], 10, 0.3)

    def test_a_stop_gives_all_back(self):
        worker = self.worker("-c", "1")
        ids = self.push("tests.time_10_s", 30)
        self.get(ids[0])
        worker.stop()
        self.assertEqual(self.in_flight(), 0)
        kept = self.waiting() + self.delayed()
        self.assertEqual(kept, sum(self.result(id)["status"] == "PENDING" for id in ids))
        self.worker("-c", "1", name="second")
        self.times(ids)
        self.wait_idle()

    def test_while_children_are_busy_others_may_have_them(self):
        first = super().worker("-c", "1", modules=("bounded", "probe"))
        ids = self.push("tests.time_10_s", 5)
        self.get(ids[0])
        busy = self.send("tests.sleep", 20000)
        self.running(first, busy)
        second = self.worker("-c", "1", name="second")
        self.times(ids, 10)
        self.assertEqual(self.result(busy)["status"], "PENDING")
        self.assertIn("Task received", second.text())

    def test_each_worker_has_its_own_limit(self):
        ids = []
        for name in ("first", "second"):  # whoever claims first holds more, so each has a queue
            self.worker("-c", "1", "-Q", name, name=name)
            ids += self.push("tests.time_10_s", 30, queue=name)
        times = sorted(self.times(ids))
        self.assertGreater(times[-1] - times[0], 2.5)
        self.assertLess(times[-1] - times[0], 5.0)  # one alone takes 5.9

    def test_what_a_lost_worker_held_is_run_by_another(self):
        first = self.worker("-c", "1", "--lease", "2s", name="first")
        ids = self.push("tests.time_10_s", 40)
        self.get(ids[0])
        self.worker("-c", "1", "--lease", "2s", name="second")
        first.stop(signal.SIGKILL)
        self.assertEqual(len(set(self.times(ids, 60))), 40)
        self.wait_idle()
        self.assertEqual(self.delayed(), 0)

    def test_run_now_does_not_break_the_limit(self):
        self.worker("-c", "1")
        ids = self.push("tests.time_1_h", 5)
        self.get(ids[0])
        wait_until(lambda: self.delayed() == 4, 10, "four are parked")
        celeriac("delayed", "run-now", "--all", redis=self.server, check=True)
        wait_until(lambda: self.delayed() == 4, 10, "four are parked again")
        self.assertEqual([self.result(id)["status"] for id in ids[1:]], ["PENDING"] * 4)


if __name__ == "__main__":
    unittest.main()
