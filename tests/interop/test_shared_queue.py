"""A Python worker and a Celeriac worker on one queue: every task is done exactly once."""
import os
import unittest

from support.servers import Daemon, PostgresServer, RedisServer, celeriac_worker, temporary_folder, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
TASKS = 2000


class SharedQueue(unittest.TestCase):
    def test_every_task_is_done_once_by_one_of_the_two(self):
        with temporary_folder("celeriac-shared-") as folder, RedisServer(folder) as redis, \
                PostgresServer(folder) as postgres:
            postgres.psql("CREATE TABLE run (number integer NOT NULL, worker text NOT NULL)")
            python = Daemon(
                ["/usr/bin/python3", "-m", "celery", "-A", "pytasks", "--workdir", HERE, "worker", "--pool", "solo"],
                folder, "python", {"CELERY_BROKER_URL": redis.url, "CELERY_RESULT_BACKEND": redis.url}, ready="ready.")
            with python, celeriac_worker(redis, folder, ["probe"], "-c", "1", postgres=postgres):
                self.enqueue(redis.url, f"host={postgres.folder} user=celeriac dbname=celeriac")
                wait_until(lambda: int(postgres.psql("SELECT count(*) FROM run").stdout) >= TASKS, 90,
                           "every task has run")
            counts = postgres.psql("SELECT count(*), count(DISTINCT number), count(DISTINCT worker) FROM run").stdout
            self.assertEqual(counts.strip(), f"{TASKS}|{TASKS}|2")
            connection = redis.client()
            self.assertEqual(connection.llen("celery"), 0)
            self.assertEqual(connection.hlen("unacked"), 0)
            self.assertEqual([key for key in connection.keys("celeriac:*") if b"node" not in key], [])

    @staticmethod
    def enqueue(url, uri):
        from celery import Celery

        app = Celery(broker=url, backend=url)
        with app.producer_pool.acquire() as producer:
            for number in range(TASKS):
                app.send_task("tests.record", [uri, number], producer=producer)


if __name__ == "__main__":
    unittest.main()
