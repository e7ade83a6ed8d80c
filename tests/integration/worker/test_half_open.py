"""A connection over which nothing comes any more, and which nobody ends."""
import os
import sys
import time
import unittest

from integration.worker.calls import WorkerTest
from support.servers import ROOT, celeriac_worker, wait_until

sys.path.insert(0, os.path.join(ROOT, "tests", "chaos"))
from proxy import Proxy  # noqa: E402


class HalfOpen(WorkerTest):
    def setUp(self):
        super().setUp()
        self.proxy = Proxy(self.folder, self.server).start()
        self.addCleanup(self.proxy.stop)
        self.proxy.watch()
        self.node = celeriac_worker(self.proxy, self.folder, ["probe"], "-c", "1")
        self.addCleanup(self.node.stop)
        self.node.start()

    def test_an_idle_worker_finds_it_within_five_seconds(self):
        """At its worst: the waits have just begun, and the next renewal of the lease is far away."""
        waits = self.proxy.seen["BLMOVE"]
        wait_until(lambda: self.proxy.seen["BLMOVE"] >= waits + 8, 20, "the waits are armed anew")
        self.proxy.black_hole()
        time.sleep(0.1)
        self.proxy.restore()
        begun = time.monotonic()
        self.assertEqual(self.get(self.send("tests.add", 1, 2), 5), 3)
        print(f"{time.monotonic() - begun:.2f} s")
        self.wait_idle()


if __name__ == "__main__":
    unittest.main()
