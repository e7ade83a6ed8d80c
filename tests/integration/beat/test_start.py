"""How `celeriac beat` refuses to start: one line that says why, and the documented exit status."""
import os
import unittest

from support.servers import RedisServer, celeriac, temporary_folder

GOOD = "[beat a]\ntask = t\nevery = 1s\n"


class Start(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = temporary_folder("celeriac-beat-")
        cls.folder = folder.__enter__()
        cls.addClassCleanup(folder.__exit__, None, None, None)
        cls.redis = RedisServer(cls.folder, options={"requirepass": "secret"}).start()
        cls.addClassCleanup(cls.redis.stop)

    def refused(self, status, words, *arguments, text=GOOD):
        path = os.path.join(self.folder, "beat.ini")
        with open(path, "w") as file:
            file.write(text)
        done = celeriac("beat", "--config", path, *arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertEqual(done.stdout, "")
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertNotIn("wrong-password", done.stderr)

    def test_command_line(self):
        for status, words, arguments in (
                (2, ["--bogus"], ["--bogus"]),
                (2, ["extra"], ["extra"]),
                (2, ["--max-interval", "soon"], ["--max-interval", "soon"]),
                (2, ["loud"], ["-l", "loud"])):
            with self.subTest(arguments):
                self.refused(status, words, *arguments)

    def test_configuration(self):
        for words, text in (
                (["no [beat NAME] section"], ""),
                (["beat.ini:3", "[beat a]", "every", "10ms"], "[beat a]\ntask = t\nevery = 1ms\n"),
                (["beat.ini:2", "[beat a]", "crontab", "day of week \"7\"", "0-6"],
                 "[beat a]\ncrontab = * * * * 7\ntask = t\n"),
                (["beat.ini:4", "[beat a]", "evry", "unknown key"], GOOD + "evry = 2s\n"),
                (["beat.ini:4", "[beat a]", "args", "JSON"], GOOD + "args = {\"a\": 1}\n"),
                (["beat.ini:4", "[beat a]", "task", "given twice"], GOOD + "task = u\n"),
                (["beat.ini:6", "[beat  a]", "timezone", "Mars"],
                 "[beat b]\ntask = t\nevery = 1s\n[beat  a]\ntask = t\ntimezone = Mars\n"),
                (["beat.ini:1", "[beats a]"], "[beats a]\ntask = t\n")):
            with self.subTest(text):
                self.refused(78, words, text=text)
        self.refused(78, ["nowhere.ini"], "--config", "/nowhere.ini")

    def test_broker(self):
        for status, words, url in (
                (78, ["redis://"], "http://localhost/"),
                (78, ["rediss"], "rediss://localhost/"),
                (69, ["127.0.0.1:1"], "redis://127.0.0.1:1/"),
                (69, ["nobody.invalid"], "redis://nobody.invalid/"),
                (69, ["/nowhere.sock"], "redis+socket:///nowhere.sock"),
                (77, [], f"redis+socket://:wrong-password@{self.redis.socket}"),
                (77, [], self.redis.url)):
            with self.subTest(url):
                self.refused(status, words, "-b", url)


if __name__ == "__main__":
    unittest.main()
