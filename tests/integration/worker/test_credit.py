"""Claims: what one worker holds and cannot run goes to another that can."""
import json
import time
import unittest

from integration.worker.calls import WorkerTest, message
from support.servers import wait_until


class Credit(WorkerTest):
    def warm_up(self, count=200, queue="celery"):
        """Quick tasks, so that the worker claims ahead."""
        batch = [message("tests.noop") for _ in range(count)]
        self.redis.lpush(queue, *[text for _, text in batch])
        self.wait_idle(queue=queue)

    def test_no_call_waits_behind_a_long_one_while_another_worker_is_idle(self):
        first = self.worker("-c", "1", name="first")
        self.warm_up()
        second = self.worker("-c", "1", name="second")
        long, long_text = message("tests.sleep", 3000)
        short = [message("tests.noop") for _ in range(60)]
        # one push, so that the first to look claims many
        self.redis.lpush("celery", long_text, *[text for _, text in short])
        begun = time.monotonic()
        for id, _ in short:
            self.get(id, 2)
        self.assertLess(time.monotonic() - begun, 1.0)
        self.assertEqual(self.result(long)["status"], "PENDING")
        self.get(long)
        self.wait_idle()
        self.assertNotIn("level=error", first.text() + second.text())

    def test_a_busy_worker_holds_nothing(self):
        worker = self.worker("-c", "1")
        self.warm_up()
        long, long_text = message("tests.sleep", 1500)
        short = [message("tests.noop") for _ in range(60)]
        self.redis.lpush("celery", long_text, *[text for _, text in short])
        self.running(worker, long)
        wait_until(lambda: self.in_flight() == 1 and self.staged() == 0 and self.waiting() == 60, 0.5,
                   "all but one are back", 0.002)
        order = [json.loads(text)["headers"]["id"] for text in reversed(self.redis.lrange("celery", 0, -1))]
        self.assertEqual(order, [id for id, _ in short])
        late = self.send("tests.noop")
        time.sleep(0.1)
        self.assertEqual(self.in_flight() + self.staged(), 1)  # what comes meanwhile is left alone
        self.get(late)
        self.wait_idle()

    def test_a_message_that_comes_while_all_are_busy_is_left_to_others(self):
        worker = self.worker("-c", "1", "-Q", "celery,other")
        for queue in "celery", "other":
            self.warm_up(50, queue)
        long = self.send("tests.sleep", 1500)
        self.running(worker, long)
        time.sleep(0.1)
        self.send("tests.noop", queue="other")
        time.sleep(0.1)
        self.assertEqual((self.waiting("other"), self.staged("other"), self.in_flight("other")), (1, 0, 0))
        self.wait_idle(queue="other")

    def test_a_full_queue_does_not_starve_another(self):
        self.worker("-c", "1", "-Q", "full,rare", "-l", "warning")
        for _ in range(10):
            batch = [message("tests.sleep", 2) for _ in range(200)]
            self.redis.lpush("full", *[text for _, text in batch])
        wait_until(lambda: self.waiting("full") < 1990, 5, "the full queue is served")
        id = self.send("tests.noop", queue="rare")
        self.get(id, 1)
        self.assertGreater(self.waiting("full"), 1000)


if __name__ == "__main__":
    unittest.main()
