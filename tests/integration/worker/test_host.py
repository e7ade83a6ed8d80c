"""The supervisor is killed in the middle of a transaction; a host stops, with all that is on it."""
import signal
import time
import unittest

from integration.worker.calls import WorkerTest, children_of, message
from support.servers import PostgresServer, RedisServer, celeriac, wait_until


def is_alive(pid):
    """False for one that has ended and waits for whoever inherited it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Host(WorkerTest):
    def setUp(self):
        super().setUp()
        self.server.stop()
        self.server = RedisServer(self.folder, options={"appendonly": "yes", "appendfsync": "always"})
        self.addCleanup(self.server.stop)
        self.server.start()
        self.postgres = PostgresServer(self.folder, options={"fsync": "on", "synchronous_commit": "on"})
        self.addCleanup(self.postgres.stop)
        self.postgres.start()
        self.postgres.psql("create table effect (id text)")

    def node(self, name, *arguments):
        return self.worker("-n", name + "@test", "--lease", "2s", *arguments, name=name, postgres=self.postgres)

    def ids(self, sql="select id from effect"):
        return self.postgres.psql(sql).stdout.split()

    def test_a_killed_supervisor_takes_its_processes_and_their_transactions_along(self):
        lost = self.node("lost", "-c", "1")
        id = self.send("tests.script_in_transaction", ["insert into effect values ('it')", "select pg_sleep(2)"])
        sleeping = "select pid from pg_stat_activity where query = 'select pg_sleep(2)' and state = 'active'"
        wait_until(lambda: self.ids(sleeping), 10, "its transaction is open")
        pids = list(children_of(lost.pid))
        begun = time.monotonic()
        lost.stop(signal.SIGKILL)
        wait_until(lambda: not any(is_alive(pid) for pid in pids), 1, "its processes are gone")
        print(f"its processes were gone after {time.monotonic() - begun:.3f} s")
        self.node("heir", "-c", "1")
        self.assertEqual(self.wait(id, 20)["status"], "SUCCESS")
        self.assertEqual(self.ids(), ["it"])  # of the second run alone

    def test_what_a_host_held_is_run_when_it_is_back(self):
        nodes = [self.node(name, "-c", "2") for name in ("one", "two")]
        sent = []
        for number in range(300):
            id, text = message("tests.sql", f"insert into effect values ('{number}') returning id as value")
            self.redis.lpush("celery", text)
            sent.append(id)
        wait_until(lambda: len(self.ids()) > 30, 20, "some are done")
        for process in [*nodes, self.server, self.postgres]:
            process.process.send_signal(signal.SIGKILL)
        for process in [*nodes, self.server, self.postgres]:
            process.stop(signal.SIGKILL)
        held = len(nodes) * 2
        self.postgres.start()
        self.server.start()
        self.redis.connection_pool.disconnect()
        wait_until(lambda: celeriac("queues", redis=self.server).returncode == 0, 10, "Redis has read its file")
        for name in ("one", "two"):
            self.node(name, "-c", "2")
        for id in sent:
            self.assertEqual(self.wait(id, 40)["status"], "SUCCESS")
        self.wait_idle(20)
        found = self.ids()
        self.assertEqual(set(found), {str(number) for number in range(300)})
        print(f"{len(found) - 300} of 300 ran twice")
        self.assertLessEqual(len(found) - 300, held * 8)  # some may have been committed, and not yet told
        self.assertEqual(celeriac("audit", redis=self.server).returncode, 0)


if __name__ == "__main__":
    unittest.main()
