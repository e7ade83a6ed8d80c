"""The notify protocol (sd_notify(3)) with a real datagram socket in the place of the service manager."""
import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import time
import unittest

from support.servers import CELERIAC, MODULES, Daemon, RedisServer, stop_process, temporary_folder

WATCHDOG_USEC = 400_000


class Manager:
    """Starts a daemon as the service manager does and reads what it tells."""

    def __init__(self, folder, arguments):
        self.path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.socket.bind(self.path)
        self.log = open(os.path.join(folder, "daemon.log"), "ab")
        environment = dict(os.environ, NOTIFY_SOCKET=self.path, WATCHDOG_USEC=str(WATCHDOG_USEC))
        self.process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, start_new_session=True)
        self.heard = []  # dicts in order

    def listen(self, seconds):
        """The next message within `seconds`, or None."""
        if not select.select([self.socket], [], [], max(seconds, 0))[0]:
            return None
        data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
        pid = next(struct.unpack("3i", value)[0] for level, kind, value in ancillary
                   if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS))
        assert pid == self.process.pid, f"{data} from {pid}, not from the main process"  # NotifyAccess=main
        message = dict(line.split("=", 1) for line in data.decode().splitlines())
        self.heard.append(message)
        return message

    def wait_for(self, key, seconds=15, **others):
        """The next message with `key`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (self.process.poll() is None or select.select([self.socket], [], [], 0)[0]):
            message = self.listen(min(end - time.monotonic(), 0.2))
            if message and key in message and all(word in message.get(name, "") for name, word in others.items()):
                return message
        with open(self.log.name) as log:
            raise AssertionError(f"no {key} {others} within {seconds} s: {self.heard}\n{log.read()}")

    def listen_for(self, seconds):
        """All that is told within `seconds`."""
        before, end = len(self.heard), time.monotonic() + seconds
        while time.monotonic() < end:
            self.listen(end - time.monotonic())
        return self.heard[before:]

    def wait_for_exit(self, seconds):
        """The exit status. A manager that did not listen would hold the daemon up."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.listen(0.05)
        while self.listen(0):
            pass
        return self.process.poll()

    def told(self, key):
        return [message[key] for message in self.heard if key in message]

    def close(self):
        stop_process(self.process)
        self.socket.close()
        self.log.close()


class Notify:
    """What worker and beat have in common."""

    def setUp(self):
        folder = temporary_folder("celeriac-notify-")
        self.folder = folder.__enter__()
        self.addCleanup(folder.__exit__, None, None, None)
        self.redis = RedisServer(self.folder).start()
        self.addCleanup(self.redis.stop)

    def start(self):
        manager = Manager(self.folder, self.command())
        self.addCleanup(manager.close)
        return manager

    def freeze_redis(self):
        self.redis.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.thaw_redis)

    def thaw_redis(self):
        if self.redis.process:
            self.redis.process.send_signal(signal.SIGCONT)

    def test_ready_with_a_status_and_stopping_once(self):
        manager = self.start()
        ready = manager.wait_for("READY")
        self.assertEqual(ready["READY"], "1")
        self.assertTrue(manager.told("STATUS"))
        self.assertTrue(all(manager.told("STATUS")))
        manager.process.send_signal(signal.SIGTERM)
        self.assertEqual(manager.wait_for("STOPPING")["STOPPING"], "1")
        self.assertEqual(manager.wait_for_exit(15), 0)
        self.assertEqual(manager.told("READY"), ["1"])
        self.assertEqual(manager.told("STOPPING"), ["1"])

    def test_not_ready_before_redis_has_answered(self):
        self.freeze_redis()
        manager = self.start()
        manager.listen_for(1.5)
        self.assertEqual(manager.told("READY"), [])
        self.thaw_redis()
        manager.wait_for("READY")

    def test_never_ready_without_redis(self):
        self.redis.stop()
        manager = self.start()
        self.assertEqual(manager.wait_for_exit(30), 69)
        self.assertEqual(manager.told("READY"), [])

    def test_watchdog_messages_come_in_time(self):
        manager = self.start()
        manager.wait_for("READY")
        manager.wait_for("WATCHDOG")
        for _ in range(5):
            before = time.monotonic()
            manager.wait_for("WATCHDOG", WATCHDOG_USEC / 1e6)
            self.assertLess(time.monotonic() - before, WATCHDOG_USEC / 1e6)

    def test_a_process_that_stands_still_says_nothing(self):
        manager = self.start()
        manager.wait_for("WATCHDOG")
        manager.process.send_signal(signal.SIGSTOP)
        manager.listen_for(0.1)
        try:
            self.assertEqual(manager.listen_for(2 * WATCHDOG_USEC / 1e6), [])
        finally:
            manager.process.send_signal(signal.SIGCONT)
        manager.wait_for("WATCHDOG")

    def test_nothing_is_told_without_a_manager(self):
        daemon = Daemon(self.command(), self.folder, "alone", ready=" ready")
        for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
            daemon.environment.pop(name, None)
        self.addCleanup(daemon.stop)
        self.assertEqual(daemon.start().stop(), 0)


class Beat(Notify, unittest.TestCase):
    every = "1h"

    def command(self):
        path = os.path.join(self.folder, "beat.ini")
        with open(path, "w") as file:
            file.write(f"[beat tick]\ntask = t\nevery = {self.every}\n")
        return [CELERIAC, "beat", "--config", path, "-b", self.redis.url]

    def test_the_status_counts_entries(self):
        manager = self.start()
        self.assertIn("1 entries", manager.wait_for("READY")["STATUS"])

    def test_an_outage_is_a_status_and_no_reason_to_be_killed(self):
        self.every = "500ms"
        manager = self.start()
        manager.wait_for("READY")
        self.redis.stop()
        manager.wait_for("STATUS", 20, STATUS="Redis does not answer")
        self.assertIn("WATCHDOG", {key for message in manager.listen_for(1) for key in message})
        self.redis.start()
        end = time.monotonic() + 20
        while "Redis does not answer" in manager.wait_for("STATUS", 20)["STATUS"]:
            self.assertLess(time.monotonic(), end)


class Worker(Notify, unittest.TestCase):
    def command(self):
        return [CELERIAC, "worker", "-b", self.redis.url, "-A", os.path.join(MODULES, "probe.so"), "-c", "2"]

    def test_reload(self):
        manager = self.start()
        manager.wait_for("READY")
        for _ in range(2):
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            manager.process.send_signal(signal.SIGHUP)
            reloading = manager.wait_for("RELOADING")
            self.assertEqual(reloading["RELOADING"], "1")
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self.assertTrue(before <= int(reloading["MONOTONIC_USEC"]) <= now)
            self.assertEqual(manager.wait_for("READY")["READY"], "1")
            manager.wait_for("WATCHDOG")

if __name__ == "__main__":
    unittest.main()
