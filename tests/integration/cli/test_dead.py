"""celeriac dead against a real Redis; the quarantine is filled by the real worker."""
import base64
import json
import subprocess
import unittest

from integration.worker.calls import WorkerTest, message
from support.servers import CELERIAC, celeriac, wait_until


class Dead(WorkerTest):
    def verb(self, *arguments, status=0):
        done = celeriac("dead", *arguments, redis=self.server)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def rows(self, *arguments, **options):
        return json.loads(self.verb(*arguments, "--json", **options).stdout)

    def entries(self, queue="celery"):
        """Their names, as list shows them."""
        return [f"{queue}/{entry.decode()}" for entry, _ in self.redis.xrange("celeriac:dead:{%s}" % queue)]

    def bury(self, task="nobody.knows", id="id-1", reason="unregistered", queue="celery", ago=0.0, text=None, **fields):
        """An entry as a worker leaves it, which has claimed the message before."""
        seconds, micros = self.redis.time()
        text = text or message(task, id=id, queue=queue)[1]
        for name in ("published", "claimed"):
            self.redis.hincrby("celeriac:counts:{%s}" % queue, name)
        self.redis.xadd("celeriac:dead:{%s}" % queue, {
            "message": text, "reason": reason, "detail": "", "task_id": id, "task": task,
            "time": int((seconds + micros / 1e6 - ago) * 1000), "evidence": "", "step": "0", **fields})
        return self.entries(queue)[-1], text

    def assert_adds_up(self, queue="celery"):
        counts = {key.decode(): int(value) for key, value in self.redis.hgetall("celeriac:counts:{%s}" % queue).items()}
        ended = sum(counts.get(name, 0) for name in ("done", "dropped", "cancelled", "expired", "revoked"))
        self.assertEqual(counts.get("claimed", 0) - counts.get("returned", 0),
                         self.in_flight(queue) + len(self.dead(queue)) + ended, counts)
        if "published" in counts:  # else they were pushed by the test, as Python does
            self.assertEqual(counts["published"] + counts.get("returned", 0) - counts.get("claimed", 0),
                             self.waiting(queue))

    def test_what_a_worker_set_aside_is_listed_and_shown(self):
        self.worker("-c", "1")
        crash = self.send("tests.crash_once")
        self.wait(crash)
        self.redis.lpush("celery", b"\xff\x1b[31m no message")
        wait_until(lambda: len(self.entries()) == 2, 10, "both in quarantine")
        first, second = self.rows("list")
        self.assertEqual((first["reason"], first["task"], first["task_id"], first["queue"], first["entry"]),
                         ("crash", "tests.crash_once", crash, "celery", self.entries()[0]))
        self.assertIn("SIGSEGV", first["detail"])
        self.assertEqual((second["reason"], second["task"], second["task_id"]), ("undecodable", None, None))
        table = self.verb("list").stdout
        self.assertRegex(table, r"(?m)^entry +queue +time +reason +task +task id +detail$")
        self.assertRegex(table, rf"(?m)^{first['entry']} +celery +\S+ +crash +tests.crash_once +{crash} +Worker exited")

        shown, = self.rows("show", crash)
        self.assertEqual(shown["evidence"]["signal"], 11)
        self.assertEqual(json.loads(shown["message"])["headers"]["id"], crash)
        text = self.verb("show", first["entry"]).stdout
        self.assertRegex(text, r'(?m)^evidence +\{"signal": 11')
        self.assertRegex(text, r"(?m)^reason +crash$")

        shown, = self.rows("show", second["entry"])
        self.assertEqual((shown["message"], shown["evidence"]), (None, None))
        self.assertEqual(base64.b64decode(shown["message_base64"]), b"\xff\x1b[31m no message")
        self.assertNotIn("\x1b", self.verb("show", second["entry"]).stdout)
        raw = subprocess.run([CELERIAC, "dead", "show", "--raw", second["entry"], "-b", self.server.url],
                             capture_output=True, check=True, timeout=30)
        self.assertEqual(raw.stdout, b"\xff\x1b[31m no message")
        self.assertIn("--raw is for one message, and 2 are meant", self.verb("show", "--raw", "--all", status=1).stderr)

    def test_choices_narrow_each_other(self):
        self.bury("a.one", "id-1", "crash", ago=7200)
        self.bury("a.two", "id-2", "crash")
        self.bury("b.one", "id-3", "unregistered")
        self.bury("a.one", "id-4", "crash", queue="mail")
        cases = {
            (): ["id-1", "id-2", "id-3", "id-4"], ("--name", "a.*"): ["id-1", "id-2", "id-4"],
            ("--name", "a.two", "--name", "b.???"): ["id-2", "id-3"], ("--queue", "mail"): ["id-4"],
            ("--queue", "mail", "--queue", "celery", "--reason", "crash"): ["id-1", "id-2", "id-4"],
            ("--reason", "crash", "--reason", "unregistered", "--name", "*.one"): ["id-1", "id-3", "id-4"],
            ("--older-than", "1h"): ["id-1"], ("--newer-than", "1h", "--reason", "crash"): ["id-2", "id-4"],
            ("id-2",): ["id-2"], ("id-2", "id-3"): ["id-2", "id-3"], (self.entries()[0],): ["id-1"],
            ("--queue", "nothing"): [],
        }
        for arguments, expected in cases.items():
            with self.subTest(arguments=arguments):
                self.assertEqual(sorted(row["task_id"] for row in self.rows("list", *arguments)), expected)

    def test_a_list_is_cut_and_says_so(self):
        for at in range(3):
            self.bury(id=f"id-{at}")
        done = self.verb("list", "--json", "--limit", "2")
        self.assertEqual([row["task_id"] for row in json.loads(done.stdout)], ["id-0", "id-1"])
        self.assertIn("--limit 0", done.stderr)
        self.assertEqual(len(self.rows("list", "--limit", "0")), 3)
        self.assertEqual(self.verb("list", "--limit", "3").stderr, "")

    def test_a_retry_goes_back_byte_for_byte_and_is_counted(self):
        entry, text = self.bury(text=b"\x00 any bytes \xff")
        other, _ = self.bury(id="id-2")
        self.assertEqual(self.rows("retry", entry), [{"queue": "celery", "retried": 1}])
        self.assertEqual(self.redis.lrange("celery", 0, -1), [text])
        self.assertEqual(self.entries(), [other])
        self.assert_adds_up()
        self.assertIn(f"there is no {entry}", self.verb("retry", entry, status=1).stderr)
        self.assertEqual(self.waiting(), 1)

    def test_a_retried_crash_has_all_its_tries_again(self):
        self.worker("-c", "1")
        id = self.send("tests.crash")  # two processes may die of it
        self.wait(id)
        wait_until(self.entries, 10, "the quarantine")
        self.assertEqual(json.loads(self.dead()[0][b"message"])["headers"]["celeriac_crashes"], 1)
        entry = self.entries()[0]
        self.verb("retry", id)
        wait_until(lambda: self.entries() and self.entries()[0] != entry, 10, "the second burial")
        evidence = json.loads(self.dead()[0][b"evidence"])
        self.assertEqual(evidence["crashes"], 2)  # not buried at the first death
        self.assert_adds_up()

    def test_counts_of_lost_workers_start_afresh(self):
        id, text = message("tests.add", 1, 2, celeriac_deliveries=10, redelivered=True)
        self.bury("tests.add", id, "max deliveries", text=text)
        self.verb("retry", "--reason", "max deliveries")
        again = json.loads(self.redis.lindex("celery", 0))
        self.assertFalse(again["headers"].get("celeriac_deliveries"))
        self.assertEqual(again["headers"]["id"], id)
        self.assertEqual(again["body"], json.loads(text)["body"])
        self.worker("-c", "1")
        self.assertEqual(self.get(id), 3)

    def test_release_is_for_unregistered_ones(self):
        self.bury("a.one", "id-1", "crash")
        self.bury("a.one", "id-2")
        self.bury("b.one", "id-3")
        self.assertEqual(self.rows("release", "--name", "a.*"), [{"queue": "celery", "released": 1}])
        self.assertEqual(self.rows("release", "--all"), [{"queue": "celery", "released": 1}])
        self.assertEqual([row["task_id"] for row in self.rows("list")], ["id-1"])
        self.assert_adds_up()

    def test_what_is_dropped_is_gone_and_counted(self):
        for at in range(300):
            self.bury(id=f"id-{at}", queue="mail" if at % 3 == 0 else "celery")
        done = self.verb("drop", "--all")
        self.assertRegex(done.stdout, r"^queue +dropped\ncelery +200\nmail +100\n$")
        self.assertEqual(self.rows("list"), [])
        self.assert_adds_up()
        self.assert_adds_up("mail")

    def test_several_at_once_retry_each_entry_once(self):
        for at in range(1000):
            self.bury(id=f"id-{at}")
        processes = [subprocess.Popen([CELERIAC, "dead", "retry", "--all", "--json", "-b", self.server.url],
                                      stdout=subprocess.PIPE) for _ in range(4)]
        retried = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
        self.assertEqual(sum(row["retried"] for rows in retried for row in rows), 1000)
        ids = [json.loads(text)["headers"]["id"] for text in self.redis.lrange("celery", 0, -1)]
        self.assertEqual(sorted(ids), sorted(f"id-{at}" for at in range(1000)))
        self.assert_adds_up()

    def test_a_retry_of_all_ends_though_workers_bury_again(self):
        self.worker("-c", "1")
        ids = [self.send("nobody.knows") for _ in range(300)]
        wait_until(lambda: len(self.entries()) == 300, 20, "all in quarantine")
        self.assertEqual(self.rows("retry", "--all"), [{"queue": "celery", "retried": 300}])
        wait_until(lambda: len(self.entries()) == 300, 20, "all in quarantine again")
        self.assertEqual(sorted(fields[b"task_id"].decode() for fields in self.dead()), sorted(ids))

    def test_the_wrong_words_are_refused(self):
        self.bury()
        cases = {
            (): "say what to do: list, show, retry, drop or release", ("keep",): '"keep" is no action',
            ("drop",): "say which ones", ("retry", "--queue", "celery"): "say which ones", ("release",): "say which ones",
            ("show",): "say which ones", ("drop", "--all", "id-1"): "either ids or --all",
            ("list", "--older-than", "soon"): "no duration", ("list", "--limit", "many"): "no whole number",
            ("list", "--raw"): "--raw is for show", ("release", "--all", "--reason", "crash"): "retry takes any",
            ("list", "--name", ""): "has a name", ("list", "--frobnicate"): "frobnicate",
        }
        for arguments, words in cases.items():
            with self.subTest(arguments=arguments):
                done = self.verb(*arguments, status=2)
                self.assertIn(words, done.stderr)
                self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1))
        self.assertEqual(len(self.entries()), 1)

    def test_odd_entries_do_no_harm(self):
        self.redis.xadd("celeriac:dead:{celery}", {"foreign": "field", "evidence": '{"__type__": 1, "__value__": 2}'})
        entry, = self.entries()
        self.assertEqual(self.rows("list")[0]["entry"], entry)
        self.assertEqual(self.rows("show", entry)[0]["message"], None)
        self.assertEqual(self.rows("retry", "--all"), [{"queue": "celery", "retried": 0}])
        self.assertEqual(self.entries(), [entry])
        self.verb("drop", entry)
        self.assertEqual(self.entries(), [])
        self.redis.set("celeriac:dead:{celery}", "text")
        self.assertIn("WRONGTYPE", self.verb("list", "--queue", "celery", status=70).stderr)


if __name__ == "__main__":
    unittest.main()
