"""A Redis behind sentinels: who fails over does so under a worker and a client that go on."""
import os
import signal
import subprocess
import threading
import time
import unittest

import redis

from integration.worker.calls import WorkerTest, message
from support.servers import BUILD, RedisServer, Sentinels, celeriac, free_port, revoke, temporary_folder, wait_until

PUSHER = os.path.join(BUILD, "tests", "worker_pusher")
WITHIN = 5.0  # from the moment the new master serves
SETTLED = 2.5  # until then every connection has heard of it


class Behind(WorkerTest):
    """Two Redis and three sentinels."""

    REDIS, SENTINEL_LINES, PASSWORD = {}, (), None

    def setUp(self):
        folder = temporary_folder("celeriac-sentinel-")
        self.folder = folder.__enter__()
        self.addCleanup(folder.__exit__, None, None, None)
        self.servers = {}
        for name in ("first", "second"):
            self.add_server(name)
        master = next(iter(self.servers.values()))
        self.sentinels = Sentinels(self.folder, master, lines=self.SENTINEL_LINES)
        self.addCleanup(self.sentinels.stop)
        self.sentinels.start()
        self.server = self.sentinels  # what workers connect to

    def add_server(self, name):
        options = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1", **self.REDIS}
        if self.servers:
            options["replicaof"] = f"127.0.0.1 {next(iter(self.servers))}"
        server = RedisServer(self.folder, name, options, port=free_port())
        self.addCleanup(server.stop)
        self.servers[server.port] = server.start()

    @property
    def redis(self):
        return self.now().client()

    def now(self):
        return self.servers[self.sentinels.master_port(0)]

    def results(self, ids):
        client = self.redis
        texts = client.mget(["celery-task-meta-" + id for id in ids]) if ids else []
        return sum(b'"status": "SUCCESS"' in text.replace(b'":"', b'": "') for text in texts if text)


class Pusher(threading.Thread):
    """A program that sends all the time; notes what was sent, and the longest time without success."""

    def __init__(self, url):
        super().__init__()
        self.ids, self.errors, self.moments = [], [], []
        self.process = subprocess.Popen([PUSHER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self):
        for line in self.process.stdout:
            status, id, text = line.rstrip("\n").split(" ", 2)
            if status == "0":
                self.ids.append(id)
                self.moments.append(time.monotonic())
            else:
                self.errors.append((status, text))

    def stop(self):
        self.process.stdin.close()
        self.join(20)
        self.process.wait(20)
        self.process.stdout.close()

    def longest_gap(self):
        return max(after - before for before, after in zip(self.moments, self.moments[1:]))

    def count_after(self, moment):
        return sum(at > moment for at in self.moments)


class Failover(Behind):
    def under_load(self, fail):
        """The new master takes over under load; sends and tasks go on soon after it has."""
        worker = self.worker("-c", "2", "-l", "info")
        old = self.now()
        pusher = Pusher(self.sentinels.url)
        pusher.start()
        self.addCleanup(pusher.stop)
        wait_until(lambda: len(pusher.ids) > 50, 20, "the client sends")
        begun = time.monotonic()
        fail(old)
        wait_until(lambda: self.now() is not old and self.role(self.now()) == "master", 20, "there is another master", 0.02)
        changed = time.monotonic()
        wait_until(lambda: pusher.count_after(changed) > 0, WITHIN, "the client sends again")
        pushed = time.monotonic()
        fresh = self.send("tests.add", 20, 22)
        self.assertEqual(self.get(fresh, WITHIN), 42)
        run = time.monotonic()
        wait_until(lambda: pusher.count_after(changed + SETTLED) > 20, WITHIN, "the client goes on")
        print(f"failover {changed - begun:.2f} s; after it the client sent after {pushed - changed:.2f} s and a fresh "
              f"task was run {run - changed:.2f} s; longest time without a send {pusher.longest_gap():.2f} s; "
              f"{len(pusher.errors)} uncertain")
        pusher.stop()
        for status, text in pusher.errors:  # what was under way; never one that was known not to be run
            self.assertIn("may have run", text)
        self.assertLess(len(pusher.errors), 5)
        # what the old master had not replicated is gone, and what it took while it did not know better
        late = [id for id, at in zip(pusher.ids, pusher.moments) if at > changed + SETTLED]
        self.assertGreater(len(late), 20)
        wait_until(lambda: self.results(late) == len(late), 20, "what was sent after the failover is done", 0.1)
        print(f"{len(pusher.ids) - self.results(pusher.ids)} of {len(pusher.ids)} were lost by Redis")
        self.assertIsNone(worker.process.poll())
        return worker

    def role(self, server):
        try:
            return server.client().execute_command("ROLE")[0].decode()
        except redis.exceptions.RedisError:
            return None

    def test_a_failover_that_was_asked_for(self):
        def fail(_):
            self.sentinels.client().execute_command("SENTINEL", "FAILOVER", self.sentinels.name)

        self.under_load(fail)

    def test_a_master_that_is_killed(self):
        worker = self.under_load(lambda server: server.stop(signal.SIGKILL))
        self.assertNotIn("ERROR", worker.text())

    def test_a_master_that_hangs(self):
        def fail(server):
            server.process.send_signal(signal.SIGSTOP)
            self.addCleanup(server.process.send_signal, signal.SIGCONT)

        self.under_load(fail)

    def test_an_idle_worker_follows(self):
        self.worker("-c", "1")
        old = self.now()
        self.assertEqual(self.get(self.send("tests.add", 1, 2), 10), 3)
        time.sleep(0.3)
        self.sentinels.client().execute_command("SENTINEL", "FAILOVER", self.sentinels.name)
        wait_until(lambda: self.now() is not old, 20, "there is another master", 0.02)
        begun = time.monotonic()
        self.assertEqual(self.get(self.send("tests.add", 2, 2), WITHIN), 4)
        print(f"idle worker: {time.monotonic() - begun:.2f} s after the failover")

    def revoke_and_send(self, master):
        id, text = message("tests.add", 1, 2)
        revoke(master, id)
        master.lpush("celery", text)
        result = self.wait(id, 20)
        self.assertEqual(result["status"], "REVOKED", result)

    def test_a_revocation_holds_after_a_failover_that_lost_others(self):
        """The replica hears of the first one only; then it gives out the number of the second again."""
        self.worker("-c", "1")
        first, second = self.servers.values()
        old, new = first.client(), second.client()
        self.revoke_and_send(old)
        wait_until(lambda: new.xlen("celeriac:revoked") == 1, 10, "it is replicated")
        new.replicaof("NO", "ONE")
        self.revoke_and_send(old)
        first.stop(signal.SIGKILL)
        wait_until(lambda: self.now() is second, 20, "there is another master", 0.02)
        self.assertEqual(new.xlen("celeriac:revoked"), 1)
        self.revoke_and_send(new)
        self.assertEqual(self.get(self.send("tests.add", 20, 22), 20), 42)

    def test_sentinels_that_are_gone_or_silent_are_passed_over(self):
        process = self.sentinels.processes[0]
        process.kill()
        process.wait()
        self.sentinels.processes[1].send_signal(signal.SIGSTOP)
        self.addCleanup(self.sentinels.processes[1].send_signal, signal.SIGCONT)
        begun = time.monotonic()
        done = subprocess.run([PUSHER, self.sentinels.url], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=20)
        self.assertRegex(done.stdout, r"^0 \S+ \n$")
        self.assertLess(time.monotonic() - begun, 3)

    def test_without_any_sentinel_the_reason_is_told(self):
        ports = list(self.sentinels.ports)
        self.sentinels.stop()
        done = celeriac("queues", "--timeout", "1s", environment={"CELERIAC_BROKER_URL": self.sentinels.url})
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertRegex(done.stderr, rf"sentinel 127.0.0.1:({'|'.join(map(str, ports))}): connection refused")

    def test_an_unknown_master_is_told(self):
        url = self.sentinels.url.replace("master_name=shop", "master_name=other")
        done = celeriac("queues", "--timeout", "1s", environment={"CELERIAC_BROKER_URL": url})
        self.assertEqual(done.returncode, 69, done.stderr)
        self.assertIn("knows no master of this name", done.stderr)
        self.assertIn("?master_name=other", done.stderr)


class Passwords(Behind):
    REDIS = {"requirepass": "redis-secret", "masterauth": "redis-secret"}
    SENTINEL_LINES = ("sentinel auth-pass shop redis-secret", "requirepass sentinel-secret",
                      "sentinel sentinel-pass sentinel-secret")

    def setUp(self):
        real = Sentinels.client
        Sentinels.client = lambda self, index=0: real(self, index, password="sentinel-secret")
        self.addCleanup(setattr, Sentinels, "client", real)
        super().setUp()

    def test_both_passwords_come_from_their_place(self):
        hosts = ";".join(f"127.0.0.1:{port}" for port in self.sentinels.ports)
        url = f"sentinel://:redis-secret@{hosts}"
        config = os.path.join(self.folder, "celeriac.conf")
        with open(config, "w") as file:
            file.write(f"[celeriac]\nbroker_url = {url}\nresult_backend = {url}/1\nmaster_name = shop\n"
                       "sentinel_password = sentinel-secret\n")
        queues = celeriac("queues", "--config", config)
        self.assertEqual((queues.returncode, queues.stderr), (0, ""))
        wrong = celeriac("queues", "--timeout", "1s", environment={
            "CELERIAC_BROKER_URL": url + "?master_name=shop&sentinel_password=other-secret"})
        self.assertEqual(wrong.returncode, 69, wrong.stderr)
        self.assertIn("WRONGPASS", wrong.stderr)
        none = celeriac("queues", "--timeout", "1s", environment={"CELERIAC_BROKER_URL": url + "?master_name=shop"})
        self.assertIn("NOAUTH", none.stderr)
        bad = celeriac("queues", "--timeout", "1s", environment={
            "CELERIAC_BROKER_URL": url.replace("redis-secret", "bad-secret"), "CELERIAC_MASTER_NAME": "shop",
            "CELERIAC_SENTINEL_PASSWORD": "sentinel-secret"})
        self.assertEqual(bad.returncode, 77, bad.stderr)
        for done in (wrong, none, bad):
            self.assertNotIn("secret", done.stderr)


if __name__ == "__main__":
    unittest.main()
