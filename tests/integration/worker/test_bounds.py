"""What a run may use: processor time, memory, files; and what a process may keep."""
import json
import re
import unittest

from integration.worker.calls import WorkerTest, children_of
from support.servers import CELERIAC, wait_until

with open(CELERIAC, "rb") as file:
    SANITIZED = b"__asan_init" in file.read()  # takes and keeps memory as no other process does
MIB = 1024 * 1024


class Bounds(WorkerTest):
    def worker(self, *arguments, **options):
        return super().worker("-c", "1", *arguments, modules=("bounded",), **options)

    def quarantined(self, id):
        [dead] = self.dead()
        self.assertEqual(dead[b"task_id"], id.encode())
        return dead[b"reason"].decode(), dead[b"detail"].decode(), json.loads(dead[b"evidence"])

    def test_processor_time_is_that_of_the_run(self):
        worker = self.worker()
        for _ in range(3):  # together more than the limit, in one process
            self.assertGreaterEqual(self.get(self.send("tests.compute", 200)), 200000)
        id = self.send("tests.compute", 60000)
        type, module, [text] = self.failure(id)
        self.assertEqual((type, module), ("CPUTimeLimitExceeded", "celery_c"))
        self.assertEqual(text, "The run took more than 0.3 s of processor time: signal 24 (SIGXCPU).")
        self.wait_idle()
        reason, detail, evidence = self.quarantined(id)
        self.assertEqual((reason, detail), ("cpu limit", text))
        self.assertEqual((evidence["signal"], evidence["crashes"]), (24, 1))
        worker.says("Child ended", 1)
        self.assertGreaterEqual(self.get(self.send("tests.compute", 100)), 100000)
        worker.says("Task put into quarantine.*reason=.cpu limit", 1)

    def test_a_call_that_was_acknowledged_early_is_not_in_quarantine(self):
        self.worker()
        self.assertEqual(self.failure(self.send("tests.compute_early", 60000))[0], "CPUTimeLimitExceeded")
        self.wait_idle()
        self.assertEqual(self.dead(), [])

    @unittest.skipIf(SANITIZED, "its allocator ends the process itself")
    def test_a_task_that_asks_sees_that_there_is_no_memory(self):
        worker = self.worker()
        self.assertEqual(self.failure(self.send("tests.allocate", 100 * MIB))[::2], ("MemoryError", ["not so much"]))
        self.assertEqual(self.get(self.send("tests.allocate", 20 * MIB)), 20 * MIB)
        self.assertEqual(self.get(self.send("tests.allocate_any", 100 * MIB)), 100 * MIB)  # lifted again
        self.assertNotIn("Child ended", worker.text())

    @unittest.skipIf(SANITIZED, "its allocator ends the process itself")
    def test_a_death_for_want_of_memory_is_told_from_others(self):
        worker = self.worker()
        for how, signal in (("trust", "11 (SIGSEGV)"), ("abort", "6 (SIGABRT)")):
            with self.subTest(how=how):
                id = self.send("tests.allocate", 100 * MIB, how)
                type, module, [text] = self.failure(id)
                self.assertEqual((type, module), ("MemoryLimitExceeded", "celery_c"))
                self.assertEqual(text, f"The run needed more than {64 * MIB} bytes of address space: signal {signal}.")
                self.wait_idle()
                self.assertEqual(self.quarantined(id)[:2], ("memory limit", text))
                self.redis.delete("celeriac:dead:{celery}")
        id = self.send("tests.deep", 1000)
        self.assertEqual(self.failure(id)[0], "MemoryLimitExceeded")
        self.wait_idle()
        self.assertEqual(self.quarantined(id)[0], "memory limit")
        self.redis.delete("celeriac:dead:{celery}")
        worker.says("Child ended", 3)  # each was run once
        id = self.send("tests.allocate", 1, "stray")
        self.assertEqual(self.failure(id)[0], "WorkerLostError")
        self.wait_idle()
        self.assertEqual(self.quarantined(id)[0], "crash")

    def test_files_are_those_of_the_run(self):
        self.worker()
        for _ in range(3):
            self.assertEqual(self.get(self.send("tests.open_files", 50)), 10)
            self.assertEqual(self.get(self.send("tests.open_any_files", 50)), 50)

    def test_a_process_that_keeps_too_much_is_replaced(self):
        limit = 160 * 1024 if SANITIZED else 64 * 1024  # KiB
        worker = self.worker("--max-memory-per-child", str(limit))
        first = self.get(self.send("tests.leak", 1000))
        self.assertEqual(self.get(self.send("tests.leak", 1000)), first)
        self.assertEqual(self.get(self.send("tests.leak", 128 * MIB), 30), first)  # its result stands
        second = self.get(self.send("tests.leak", 1000))
        self.assertNotEqual(second, first)
        worker.says(f"Child has too much memory and is replaced.*pid={first} .*limit={limit * 1024}", 1)
        wait_until(lambda: list(children_of(worker.pid)) == [second], 5, "one child")
        self.assertEqual(self.get(self.send("tests.leak", 1000)), second)
        self.assertEqual(len(re.findall("Child ended", worker.text())), 1)


if __name__ == "__main__":
    unittest.main()
