"""Tasks that no worker knew come back when one knows them: at its start, after a reload, soon after."""
import os
import shutil
import signal
import unittest

from integration.worker.calls import WorkerTest, message
from support.servers import MODULES, celeriac, wait_until

LOOK = 5  # seconds between two looks


class Release(WorkerTest):
    def set_aside(self, *tasks):
        """Has a worker that knows other tasks set them aside, and stops it."""
        ignorant = self.worker("-c", "1", modules=["shop"], name="ignorant")
        ids = [self.send(task, 1, 2) for task in tasks]
        wait_until(lambda: len(self.dead()) == len(tasks), 10, "in quarantine")
        self.assertEqual(ignorant.stop(), 0)
        return ids

    def counts(self):
        return {key.decode(): int(value) for key, value in self.redis.hgetall("celeriac:counts:{celery}").items()}

    def looks_made(self):
        stats = self.redis.info("commandstats")
        return stats.get("cmdstat_xrevrange", {"calls": 0})["calls"]

    def test_a_worker_that_starts_releases_what_it_knows(self):
        first, unknown, last = self.set_aside("tests.add", "nobody.knows", "tests.add")
        worker = self.worker("-c", "1")
        self.assertEqual(self.wait(first, states=("SUCCESS",))["result"], 3)
        self.wait(last, states=("SUCCESS",))
        self.assertEqual([fields[b"task_id"].decode() for fields in self.dead()], [unknown])
        wait_until(lambda: "known now; they went back" in worker.text(), 5, "the line")
        self.assertRegex(worker.text(), r"known now; they went back.*queue=celery.*tasks=2")
        counts = self.counts()
        self.assertEqual(counts["claimed"] - counts["returned"], 3)  # one dead, two done

    def test_what_nobody_knows_stays(self):
        self.set_aside("nobody.knows")
        entries = self.redis.xrange("celeriac:dead:{celery}")
        worker = self.worker("-c", "1")
        self.redis.config_resetstat()
        wait_until(lambda: self.looks_made() >= 2, 3 * LOOK, "two looks")
        self.assertEqual(self.redis.xrange("celeriac:dead:{celery}"), entries)
        self.assertNotIn("they went back", worker.text())

    def test_a_reload_releases_what_the_new_code_knows(self):
        id, = self.set_aside("tests.add")
        module = os.path.join(self.folder, "module.so")
        shutil.copy(os.path.join(MODULES, "shop.so"), module)
        worker = self.worker("-c", "1", modules=[module])
        os.unlink(module)
        shutil.copy(os.path.join(MODULES, "probe.so"), module)
        self.assertEqual(len(self.dead()), 1)
        worker.send_signal(signal.SIGHUP)
        self.assertEqual(self.wait(id, states=("SUCCESS",))["result"], 3)
        self.assertEqual(self.dead(), [])

    def test_what_another_sets_aside_later_comes_back_too(self):
        worker = self.worker("-c", "1")
        wait_until(lambda: self.looks_made() >= 1, 5, "the first look")
        _, text = message("tests.add", 1, 2, id="late")
        self.redis.hincrby("celeriac:counts:{celery}", "claimed")
        self.redis.xadd("celeriac:dead:{celery}", {"message": text, "reason": "unregistered", "detail": "",
                                                   "task_id": "late", "task": "tests.add", "time": 1, "evidence": ""})
        self.assertEqual(self.wait("late", 2 * LOOK, states=("SUCCESS",))["result"], 3)
        worker.says("they went back")

    def test_other_reasons_stay(self):
        self.redis.xadd("celeriac:dead:{celery}", {"message": message("tests.add", 1, 2)[1], "reason": "crash",
                                                   "task": "tests.add", "time": 1})
        self.worker("-c", "1")
        wait_until(lambda: self.looks_made() >= 1, 5, "the first look")
        self.get(self.send("tests.add", 1, 1))
        self.assertEqual(len(self.dead()), 1)

    def test_a_large_quarantine_is_released_by_two_workers_each_entry_once(self):
        pipe = self.redis.pipeline()
        for at in range(5000):
            task = "tests.noop" if at % 2 else "nobody.knows"
            pipe.xadd("celeriac:dead:{celery}", {"message": message(task, id=f"id-{at}")[1], "reason": "unregistered",
                                                 "task_id": f"id-{at}", "task": task, "time": 1})
        pipe.hincrby("celeriac:counts:{celery}", "claimed", 5000)
        pipe.execute()
        for name in ("one", "two"):
            self.worker("-c", "1", "-n", name, name=name)
        wait_until(lambda: len(self.dead()) == 2500, 20, "the known ones are released", 0.1)
        self.wait_idle(30)
        counts = self.counts()  # workers give back what they hold too long, too
        self.assertEqual((counts["claimed"] - counts["returned"], counts["done"]), (5000, 2500))
        done = celeriac("dead", "list", "--limit", "1", redis=self.server)
        self.assertIn("nobody.knows", done.stdout)


if __name__ == "__main__":
    unittest.main()
