"""Where the queues stand: one Redis behind proxies, or a master with a replica and sentinels."""
import contextlib

import redis as redis_py

from common import DURABLE, RedisServer, Sentinels, free_port, wait_until
from proxy import Proxy


class Single:
    """One Redis with its append-only file, behind a proxy for each node."""

    def __init__(self, folder):
        self.server = RedisServer(folder, options=DURABLE).start()
        self.folder, self.proxies = folder, {}

    def front(self, name):
        self.proxies[name] = Proxy(self.folder, self.server, "proxy-" + name).start()
        return self.proxies[name]

    def client(self):
        return self.server.client()

    def stop(self):
        for proxy in self.proxies.values():
            proxy.stop()
        self.server.stop()


class Replicated:
    """A master, a replica and three sentinels."""

    def __init__(self, folder):
        self.servers = {}
        for name in ("first", "second"):
            options = {**DURABLE, "repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1",
                       "min-replicas-to-write": "1", "min-replicas-max-lag": "2"}
            if self.servers:
                options["replicaof"] = f"127.0.0.1 {next(iter(self.servers))}"
            server = RedisServer(folder, name, options, port=free_port()).start()
            self.servers[server.port] = server
        self.sentinels = Sentinels(folder, next(iter(self.servers.values()))).start()

    def front(self, _):
        return self.sentinels

    def master(self):
        return self.servers[self.sentinels.master_port()]

    def client(self):
        return self.master().client()

    def stop(self):
        self.sentinels.stop()
        for server in self.servers.values():
            server.stop()

    def is_another(self, old):
        """The sentinels name another master, and it agrees."""
        try:
            now = self.master()
            with now.client() as client:
                return now is not old and client.execute_command("ROLE")[0] == b"master"
        except (redis_py.exceptions.RedisError, OSError):
            return False

    def is_in_step(self):
        try:
            with self.client() as client:
                role = client.execute_command("ROLE")
                return role[0] == b"master" and len(role[2]) == 1 and self.sentinels.is_ready(0, 1)
        except (redis_py.exceptions.RedisError, OSError):
            return False

    def ask_for_failover(self):
        """The sentinels give one up now and then; then they are asked again."""
        old = self.master()
        for _ in range(3):
            with contextlib.suppress(redis_py.exceptions.ResponseError):  # one is under way
                self.sentinels.client().execute_command("SENTINEL", "FAILOVER", self.sentinels.name)
            with contextlib.suppress(AssertionError):
                wait_until(lambda: self.is_another(old), 12, "the sentinels name another master", 0.02)
                return

    def wait_for_other(self, old):
        wait_until(lambda: self.is_another(old), 40, "the sentinels name another master", 0.02)

    def wait_for_replica(self):
        """Master and replica have found each other again: what comes next can be survived."""
        wait_until(self.is_in_step, 60, "the replica follows", 0.1)
