"""A server that is killed again and again while a program sends with a dedupe window."""
import collections
import json
import os
import random
import signal
import subprocess
import threading
import time
import unittest

from support.servers import BUILD, RedisServer, temporary_folder

SENDER = os.path.join(BUILD, "tests", "client_sender")
CALLS, KILLS = 3000, 30


class Progress(threading.Thread):
    """Reads how far the sender has come."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.sent, self.failures = process, 0, None
        self.moved = threading.Condition()

    def run(self):
        for line in self.process.stdout:
            with self.moved:
                if line.startswith("failures"):
                    self.failures = int(line.split()[1])
                else:
                    self.sent = int(line)
                self.moved.notify_all()

    def wait_for(self, sent, seconds):
        with self.moved:
            return self.moved.wait_for(lambda: self.sent >= sent, seconds)


class Storm(unittest.TestCase):
    def test_each_call_arrives_once_though_the_server_is_killed_thirty_times(self):
        seed = int(os.environ.get("STORM_SEED", random.randrange(1 << 30)))
        dice = random.Random(seed)
        begun = time.monotonic()
        with temporary_folder("celeriac-storm-") as folder:
            with RedisServer(folder, options={"appendonly": "yes", "appendfsync": "always"}) as redis:
                sender = subprocess.Popen([SENDER, redis.url, str(CALLS)], stdout=subprocess.PIPE, text=True)
                try:
                    progress = Progress(sender)
                    progress.start()
                    for kill in range(KILLS):
                        # somewhere in this thirtieth of the calls, and then at any moment of a sending
                        moment = (kill + dice.random() * 0.9) * CALLS / KILLS
                        self.assertTrue(progress.wait_for(moment, 20), f"seed {seed}: the sender stands still")
                        time.sleep(dice.random() * 0.002)
                        redis.stop(signal.SIGKILL)
                        redis.start()
                    self.assertEqual(sender.wait(20), 0, f"seed {seed}")
                    progress.join(5)
                finally:
                    sender.kill()
                    sender.wait()
                    sender.stdout.close()
                messages = redis.client().lrange("celery", 0, -1)
        counts = collections.Counter(json.loads(message)["headers"]["id"] for message in messages)
        seconds = time.monotonic() - begun
        print(f"seed {seed}: {KILLS} kills, {progress.failures} sendings failed and were made again, {seconds:.1f} s")
        self.assertEqual(counts, {f"call-{number}": 1 for number in range(CALLS)}, f"seed {seed}")
        self.assertLess(seconds, 30)


if __name__ == "__main__":
    unittest.main()
