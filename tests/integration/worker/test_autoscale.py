"""As many processes as there is work for."""
import unittest

from integration.worker.calls import WorkerTest, children_of
from support.servers import celeriac, wait_until


class Autoscale(WorkerTest):
    def grows_to(self, worker, count, seconds=10):
        wait_until(lambda: len(children_of(worker.pid)) == count, seconds, f"{count} children")

    def test_it_grows_while_calls_wait_and_shrinks_when_they_are_gone(self):
        worker = self.worker("--autoscale", "6,2", environment={"AUTOSCALE_KEEPALIVE": "1"})
        self.grows_to(worker, 2)
        calls = [self.send("tests.sleep", 400) for _ in range(40)]
        self.grows_to(worker, 6)
        for id in calls:
            self.get(id, 30)
        self.grows_to(worker, 2)
        worker.says("There is more work: the pool grows")
        worker.says("There is less work: the pool shrinks")
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)
        self.wait_idle()
        for line in worker.text().splitlines():
            if "Child ended" in line:
                self.assertNotIn("task_id=", line)  # nobody was interrupted

    def test_the_one_that_is_at_work_stays(self):
        worker = self.worker("--autoscale", "4,1", environment={"AUTOSCALE_KEEPALIVE": "0.3"})
        short = [self.send("tests.sleep", 300) for _ in range(12)]
        self.grows_to(worker, 4)
        long = self.send("tests.sleep", 6000)
        for id in short:
            self.get(id, 30)
        self.grows_to(worker, 1)
        self.assertEqual(self.result(long)["status"], "PENDING")
        self.get(long, 30)
        self.grows_to(worker, 1)

    def test_one_call_at_a_time_needs_one_process(self):
        worker = self.worker("--autoscale", "8,1")
        for _ in range(20):
            self.get(self.send("tests.sleep", 60))
        self.assertLessEqual(len(children_of(worker.pid)), 2)

    def test_what_is_no_range_is_an_error(self):
        done = celeriac("worker", "-A", "probe.so", "--autoscale", "4-1", redis=self.server)
        self.assertEqual(done.returncode, 78)
        self.assertIn('autoscale "4-1": two numbers are wanted', done.stderr)


if __name__ == "__main__":
    unittest.main()
