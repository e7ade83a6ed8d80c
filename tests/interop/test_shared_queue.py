"""A Python worker and a Celeriac worker on one queue: every task is done exactly once."""
import os
import pathlib
import unittest
from collections import Counter

from support.servers import Daemon, RedisServer, celeriac_worker, temporary_folder, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
TASKS = 2000


class SharedQueue(unittest.TestCase):
    def test_every_task_is_done_once_by_one_of_the_two(self):
        with temporary_folder("celeriac-shared-") as folder, RedisServer(folder) as redis:
            runs = os.path.join(folder, "runs")
            os.mkdir(runs)
            python = Daemon(
                ["/usr/bin/python3", "-m", "celery", "-A", "pytasks", "--workdir", HERE, "worker", "--pool", "solo", "-l", "info"],
                folder, "python", {"CELERY_BROKER_URL": redis.url, "CELERY_RESULT_BACKEND": redis.url}, ready="ready.")
            with python, celeriac_worker(redis, folder, ["probe"], "-c", "1"):
                self.enqueue(redis.url, runs)
                wait_until(lambda: len(os.listdir(runs)) == TASKS and self.left(redis.client()) == 0, 90,
                           "every task has run")
            letters = Counter(pathlib.Path(entry).read_text() for entry in os.scandir(runs))
        print(f"\nruns by Python: {letters['p']}, in C: {letters['x']}")
        self.assertEqual(letters["p"] + letters["x"], TASKS, f"some ran twice: {letters}")
        self.assertGreater(letters["p"], 0)
        self.assertGreater(letters["x"], 0)

    @staticmethod
    def left(connection):
        return (connection.llen("celery") + connection.hlen("unacked")
                + sum(connection.hlen(key) for key in connection.keys("celeriac:inflight:*")))

    @staticmethod
    def enqueue(url, folder):
        from celery import Celery

        app = Celery(broker=url, backend=url)
        with app.producer_pool.acquire() as producer:
            for number in range(TASKS):
                app.send_task("tests.count", [os.path.join(folder, str(number))], producer=producer)


if __name__ == "__main__":
    unittest.main()
