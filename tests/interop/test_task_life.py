"""What Celery's own client asks of a task, run by a worker of ours."""
import unittest

from interop.test_messages import forget_results
from support.servers import RedisServer, celeriac_worker, temporary_folder


class TaskLife(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-life-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        cls.worker = cls.enterClassContext(celeriac_worker(cls.redis, cls.folder, ["probe"], "-c", "2"))
        from celery import Celery

        cls.app = Celery("life", broker=cls.redis.url, backend=cls.redis.url, set_as_current=False)
        cls.addClassCleanup(cls.app.close)
        cls.addClassCleanup(forget_results)

    def test_map_starmap_and_chunks(self):
        add, echo = self.app.signature("tests.add"), self.app.signature("tests.echo")
        from celery.canvas import chunks, xmap, xstarmap

        self.assertEqual(xmap(echo, [1, [2]], app=self.app).delay().get(10), [[[1], {}], [[[2]], {}]])
        self.assertEqual(xstarmap(add, [(1, 2), (3, 4)], app=self.app).delay().get(10), [3, 7])
        pieces = chunks(add, [(i, i) for i in range(5)], 2, app=self.app).group().delay()
        self.assertEqual(pieces.get(10), [[0, 2], [4, 6], [8]])

    def test_built_in_tasks(self):
        self.assertEqual(self.app.send_task("celery.accumulate", (1, [2])).get(10), [1, [2]])
        self.assertEqual(self.app.send_task("celery.accumulate", ([1], [2]), {"index": 0}).get(10), [1])
        self.assertIsNone(self.app.send_task("celery.backend_cleanup").get(10))
        with self.assertRaisesRegex(NotImplementedError, "chord_unlock"):
            self.app.send_task("celery.chord_unlock", ("g", {})).get(10)

    def test_every_compression_of_kombu(self):
        for method in "gzip", "bzip2", "lzma", "zstd":
            with self.subTest(method=method):
                result = self.app.send_task("tests.echo", ("é" * 1000,), compression=method)
                self.assertEqual(result.get(10), [["é" * 1000], {}])


if __name__ == "__main__":
    unittest.main()
