"""Clients of Celery for Node call tasks of ours: celery-node, node-celery (protocol 1), celery-ts."""
import datetime
import json
import os
import shutil
import subprocess
import unittest

from support.servers import BUILD, RedisServer, celeriac_worker, free_port, temporary_folder

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = {"celery-node": ["celery-node@0.5.9"],
           "node-celery": ["node-celery@0.2.8", "redis@3.1.2"],  # it asks for any, and knows no later one
           "celery-ts": ["celery-ts@1.2.3"]}


def installed(name):
    """The folder with the client `name`, from the npm registry; None: it cannot be had here."""
    folder = os.path.join(BUILD, "node-clients", name)
    if os.path.exists(os.path.join(folder, "node_modules", name, "package.json")):
        return folder
    os.makedirs(folder, exist_ok=True)
    try:
        subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts",
                        "--silent", *CLIENTS[name]], check=True, timeout=200, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return folder


@unittest.skipUnless(shutil.which("npm") and shutil.which("node"), "npm and node are not here")
class NodeClients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-node-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder, port=free_port()))
        cls.worker = cls.enterClassContext(celeriac_worker(cls.redis, cls.folder, ["probe"], "-c", "2"))

    def call(self, name, task, args=(), kwargs=None, **options):
        folder = installed(name)
        if not folder:
            self.skipTest(f"{name} cannot be installed from the npm registry")
        done = subprocess.run(
            ["node", os.path.join(HERE, "node_call.js"), name, self.redis.url, task, json.dumps(args),
             json.dumps(kwargs or {}), json.dumps(options)],
            capture_output=True, text=True, timeout=60,
            env={**os.environ, "NODE_PATH": os.path.join(folder, "node_modules")})
        self.assertTrue(done.stdout, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def check(self, name, **options):
        self.assertEqual(self.call(name, "tests.add", [1, 2], **options), {"value": 3})
        self.assertEqual(self.call(name, "tests.echo", ["é", [1.5, None]], {"k": {"a": True}}, **options),
                         {"value": [["é", [1.5, None]], {"k": {"a": True}}]})
        failed = self.call(name, "tests.fail", ["ValueError", "broken on purpose"], **options)
        self.assertIn("broken on purpose", failed["error"])

    def test_celery_node(self):
        self.check("celery-node")

    def test_node_celery_with_protocol_1(self):
        self.check("node-celery")
        in_an_hour = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).isoformat()
        self.check("node-celery", expires=in_an_hour)
        late = self.call("node-celery", "tests.noop", expires="2020-01-01T00:00:00.000Z")
        self.assertIn("expired", late["error"])

    def test_celery_ts(self):
        self.check("celery-ts")
        self.check("celery-ts", compression="Zlib")

    def test_nothing_of_them_is_left(self):
        client = self.redis.client()
        self.addCleanup(client.close)
        self.assertEqual(client.llen("celery"), 0)
        self.assertEqual(client.keys("celeriac:dead:*"), [])


if __name__ == "__main__":
    unittest.main()
