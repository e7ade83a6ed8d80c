"""Redis goes away and comes back: children run on, outcomes are kept, nothing is lost."""
import os
import signal
import time
import unittest

import redis

from integration.worker.calls import WorkerTest, message
from support.servers import RedisServer, wait_until


class Outage(WorkerTest):
    def setUp(self):
        super().setUp()
        self.server.stop()
        self.server = RedisServer(self.folder, options={"appendonly": "yes", "appendfsync": "always"})
        self.addCleanup(self.server.stop)
        self.server.start()

    def answers(self):
        try:
            return self.redis.ping()
        except redis.exceptions.ConnectionError:  # still loading
            return False

    def restart(self, away=0.0, first=signal.SIGKILL):
        self.server.stop(first)
        time.sleep(away)
        self.server.start()
        self.redis.connection_pool.disconnect()
        wait_until(self.answers, 10, "Redis has read its file")

    def test_an_outcome_waits_for_redis(self):
        worker = self.worker("-c", "2")
        id = self.send("tests.sleep", 500)
        self.running(worker, id)
        self.restart(away=1.0)
        self.assertEqual(self.wait(id, 15)["status"], "SUCCESS")
        self.wait_idle(15)
        self.assertEqual(self.get(self.send("tests.add", 1, 2), 15), 3)
        worker.says("Task succeeded", 2)

    def test_a_retry_is_parked_once(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.soft", 600, "caught", timelimit=[None, None])
        retried = self.send("tests.retry", 700, 1)
        self.running(worker, id)
        self.restart(away=0.8)
        self.assertEqual(self.get(id, 15), "not struck")
        self.assertEqual(self.get(retried, 15), 1)
        self.wait_idle(15)

    def test_restarts_under_load_lose_nothing(self):
        self.worker("-c", "3", "-l", "warning")
        ids = []
        for round in range(5):
            batch = [message("tests.add", i, round) for i in range(400)]
            ids += [(id, i + round) for i, (id, _) in enumerate(batch)]
            self.redis.lpush("celery", *[text for _, text in batch])
            time.sleep(0.03)
            self.restart()
        for id, value in ids:
            self.assertEqual(self.get(id, 40), value)
        self.wait_idle(20)

    def test_cut_connections_lose_nothing_and_repeat_nothing(self):
        """The server lives on, so everything that it did counts: sends are the witnesses."""
        self.worker("-c", "3", "-l", "warning")
        batch = [message("tests.send", "tests.ignored", [], 1) for _ in range(2000)]
        self.redis.lpush("celery", *[text for _, text in batch])
        cuts = 0
        while self.waiting() > 0 and cuts < 200:
            self.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            cuts += 1
            time.sleep(0.02)
        self.assertGreater(cuts, 1)
        for id, _ in batch:
            self.assertEqual(len(self.get(id, 40)), 1)
        self.wait_idle(20)

    def test_cut_connections_and_early_acknowledgements(self):
        self.worker("-c", "3", "-l", "warning")
        ids = []
        for _ in range(30):
            ids += [self.send("tests.sleep_early", 5) for _ in range(10)]
            self.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(0.01)
        for id in ids:
            self.assertEqual(self.wait(id, 40)["status"], "SUCCESS")
        self.wait_idle(20)

    def test_what_is_acknowledged_early_does_not_run_before_that_is_known(self):
        """Else it would run twice, when its worker died then and others found it in flight."""
        path = os.path.join(self.folder, "count")
        worker = self.worker("-c", "1", "-l", "debug", "--lease", "2s")
        self.redis.execute_command("ACL", "SETUSER", "default", "-hdel")  # no acknowledgement goes through
        id = self.send("tests.count_early", path)
        wait_until(lambda: "to=ACKING" in worker.text(), 10, "a child waits for it")
        wait_until(lambda: sum(entry["count"] for entry in self.redis.acl_log()) >= 2, 10, "it was tried again")
        self.assertFalse(os.path.exists(path))
        worker.says("Tasks cannot be acknowledged before they run; they wait.*can't run this command")
        worker.stop(signal.SIGKILL)
        self.redis.execute_command("ACL", "SETUSER", "default", "+hdel")
        self.worker("-c", "1", "--lease", "2s", name="second")
        self.assertEqual(self.wait(id, 20)["status"], "SUCCESS")
        self.assertEqual(os.path.getsize(path), 1)

    def hang_while_it_asks_for_a_retry(self):
        """The server has what the worker tells, and has not run it when the worker gives it up."""
        worker = self.worker("-c", "1")
        id = self.send("tests.retry_early", 700, 60000)
        self.running(worker, id)
        wait_until(lambda: self.in_flight() == 0, 5, "acknowledged")
        self.server.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: "it is not known whether Redis has what follows" in worker.text(), 15, "it is given up")
        return worker, id

    def test_a_retry_that_was_acknowledged_early_and_did_not_arrive_is_a_failure(self):
        _, id = self.hang_while_it_asks_for_a_retry()
        self.restart()
        type, module, text = self.failure(id, 15)
        self.assertEqual((type, module), ("OperationalError", "kombu.exceptions"))
        self.assertIn("not known whether the next attempt was written", str(text))
        self.assertEqual(self.delayed() + self.waiting(), 0)

    def test_a_retry_that_was_acknowledged_early_and_did_arrive_goes_on(self):
        worker, id = self.hang_while_it_asks_for_a_retry()
        self.server.process.send_signal(signal.SIGCONT)
        wait_until(lambda: "Outcomes are told again" in worker.text(), 15, "told again")
        self.assertEqual(self.result(id)["status"], "RETRY")
        self.assertEqual(self.delayed(), 1)

    def test_a_server_that_hangs_is_not_waited_for(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.sleep", 200)
        self.running(worker, id)
        self.server.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        self.server.process.send_signal(signal.SIGCONT)
        self.assertEqual(self.wait(id, 20)["status"], "SUCCESS")
        self.assertEqual(self.get(self.send("tests.add", 1, 2), 20), 3)
        worker.says("Task succeeded", 2)

    def test_a_cold_stop_without_redis_ends(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.sleep", 60000)
        self.running(worker, id)
        self.server.stop(signal.SIGKILL)
        begun = time.monotonic()
        worker.send_signal(signal.SIGQUIT)
        self.assertEqual(worker.wait(20), 0)
        self.assertLess(time.monotonic() - begun, 15)
        self.server.start()
        self.assertEqual(self.in_flight(), 1)  # still there for whoever rescues it


if __name__ == "__main__":
    unittest.main()
