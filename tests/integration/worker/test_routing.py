"""Several queues of one worker: weights, orders, priorities."""
import json
import os
import unittest

from integration.worker.calls import WorkerTest, message
from support.servers import CELERIAC, Daemon, celeriac, wait_until


class Routing(WorkerTest):
    def fill(self, queue, count, priority=0):
        """Calls that are slow enough to be claimed one by one; their ids begin with the queue's name."""
        calls = [message("tests.sleep", 4, id=f"{queue}-p{priority}-{i}", queue=queue, priority=priority)
                 for i in range(count)]
        step = priority // 3 * 3
        self.redis.lpush(queue + (f"\x06\x16{step}" if step else ""), *[text for _, text in calls])

    def order(self, worker, count):
        """The ids in the order in which they were received."""
        wait_until(lambda: worker.text().count('msg="Task succeeded"') >= count, 30, f"{count} ends")
        return [line.partition("task_id=")[2].split()[0] for line in worker.text().splitlines()
                if 'msg="Task received"' in line][:count]

    def test_queues_have_weights(self):
        for queue in "high", "low":
            self.fill(queue, 120)
        worker = self.worker("-c", "1", "-Q", "high:5,low")
        order = self.order(worker, 60)
        of_high = sum(id.startswith("high-") for id in order)
        self.assertTrue(46 <= of_high <= 54, f"{of_high} of 60: {order}")

    def test_strict_order_is_that_of_the_option(self):
        for queue in "b", "a":
            self.fill(queue, 30)
        worker = self.worker("-c", "1", "-Q", "b,a", "--queue-order", "strict")
        order = self.order(worker, 60)
        self.assertEqual([id[0] for id in order], ["b"] * 30 + ["a"] * 30)

    def test_sorted_order_is_that_of_the_names(self):
        for queue in "b", "a":
            self.fill(queue, 20)
        worker = self.worker("-c", "1", "-Q", "b,a", "--queue-order=sorted")
        self.assertEqual([id[0] for id in self.order(worker, 40)], ["a"] * 20 + ["b"] * 20)

    def test_priority_0_is_first(self):
        for priority in 9, 3, 6, 0, 4:
            self.fill("celery", 3, priority)
        worker = self.worker("-c", "1")
        order = self.order(worker, 15)
        self.assertEqual([id.split("-")[1] for id in order],
                         ["p0"] * 3 + ["p3"] * 3 + ["p4"] * 3 + ["p6"] * 3 + ["p9"] * 3)

    def configuration(self, text):
        path = os.path.join(self.folder, "celeriac.ini")
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_routes_of_the_configuration(self):
        config = self.configuration("[routes]\ntests.noop = whole\ntests.* = pattern\n"
                                    "[beat tick]\ntask = tests.add\nevery = 100ms\n")
        for arguments, queue in ((["tests.noop"], "whole"), (["tests.add", "1", "2"], "pattern"),
                                 (["other.task"], "celery"), (["tests.noop", "--queue", "named"], "named")):
            with self.subTest(arguments=arguments):
                done = celeriac("call", *arguments, "--config", config, redis=self.server)
                self.assertEqual(done.returncode, 0, done.stderr)
                message = json.loads(self.redis.rpop(queue))
                self.assertEqual(message["properties"]["delivery_info"], {"exchange": "", "routing_key": queue})
        worker = self.worker("-c", "1", "--config", config)
        for name, queue in (("tests.noop", "whole"), ("tests.add", "pattern"), ("other.task", "celery"),
                            ("tests.on_other_queue", "other")):
            with self.subTest(name=name):
                self.get(self.send("tests.send", name, [1, 2]))
                if queue != "celery":
                    self.assertEqual(self.waiting(queue), 1)
        worker.stop()
        self.assertEqual(self.redis.delete("pattern"), 1)
        beat = Daemon([CELERIAC, "beat", "-b", self.server.url, "--config", config], self.folder, "beat")
        self.addCleanup(beat.stop)
        beat.start()
        wait_until(lambda: self.waiting("pattern"), 10, "a call of beat")

    def test_a_route_that_is_none_is_refused(self):
        config = self.configuration("[routes]\nshop.* =\n")
        for arguments in (["worker", "-A", "none.so"], ["beat"], ["call", "a.b"]):
            with self.subTest(verb=arguments[0]):
                done = celeriac(*arguments, "--config", config, redis=self.server)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn('route "shop.* ="', done.stderr)

    def test_what_makes_no_sense_is_refused(self):
        for queues, order, words in (("a:0", "round_robin", "a weight is 1 to 1000"),
                                     ("a:1001", "round_robin", "a weight is 1 to 1000"),
                                     ("a:2,b", "strict", "weights of queues are for --queue-order round_robin"),
                                     ("a", "fastest", "queue-order"),
                                     ("a\x06", "sorted", "control characters"),
                                     (",", "sorted", "names no queue")):
            with self.subTest(queues=queues, order=order):
                done = celeriac("worker", "-A", "none.so", "-Q", queues, "--queue-order", order, redis=self.server)
                self.assertIn(done.returncode, (2, 78))
                self.assertIn(words, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
