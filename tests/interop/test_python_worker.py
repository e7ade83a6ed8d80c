"""Tasks called by libceleriac's `celeriac call` and run by a Python worker."""
import json
import os
import unittest

from support.servers import Daemon, RedisServer, celeriac, temporary_folder

HERE = os.path.dirname(os.path.abspath(__file__))


class PythonWorker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-pyworker-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        cls.worker = cls.enterClassContext(Daemon(
            ["/usr/bin/python3", "-m", "celery", "-A", "pytasks", "--workdir", HERE, "worker", "--pool", "solo",
             "-l", "info"],
            cls.folder, "python", {"CELERY_BROKER_URL": cls.redis.url, "CELERY_RESULT_BACKEND": cls.redis.url},
            ready="ready."))

    def call(self, *arguments):
        done = celeriac("call", *arguments, "--wait", "--json", redis=self.redis)
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr

    def test_positional_and_keyword_arguments(self):
        status, document, _ = self.call("pytasks.echo", "1", "text", "[1, 2.5, null]", "--flag", "--some-name", "x")
        self.assertEqual(status, 0)
        self.assertEqual(document["result"], [[1, "text", [1, 2.5, None]], {"flag": True, "some_name": "x"}])

    def test_failure_comes_back_with_type_and_text(self):
        status, document, _ = self.call("pytasks.fail", "broken on purpose")
        self.assertEqual(status, 1)
        self.assertEqual(document["status"], "FAILURE")
        self.assertEqual(document["result"]["exc_type"], "ValueError")
        self.assertEqual(document["result"]["exc_message"], ["broken on purpose"])

    def test_countdown_priority_headers_msgpack_and_zlib(self):
        for options in (["--countdown", "0.3"], ["--priority", "6"], ["--header", "tenant=a"],
                        ["--serializer", "msgpack"], ["--compression", "zlib"]):
            with self.subTest(options=options):
                status, document, error = self.call("pytasks.echo", "[1, \"é\"]", *options)
                self.assertEqual((status, document and document["result"]), (0, [[[1, "é"]], {}]), error)


if __name__ == "__main__":
    unittest.main()
