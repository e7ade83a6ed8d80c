"""celeriac delayed against a real Redis, with the real worker that parks."""
import datetime
import json
import subprocess
import unittest

from integration.worker.calls import WorkerTest, iso, message
from support.servers import CELERIAC, RedisServer, celeriac, wait_until


class Delayed(WorkerTest):
    def verb(self, *arguments, status=0, **options):
        done = celeriac("delayed", *arguments, redis=self.server, **options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def rows(self, *arguments, **options):
        return json.loads(self.verb(*arguments, "--json", **options).stdout)

    def ids(self, *arguments):
        return [row["task_id"] for row in self.rows("list", *arguments)]

    def park(self, *tasks, queue="celery", seconds=3600, **headers):
        """Sends them and waits until a worker has parked them."""
        before = self.delayed(queue)
        ids = [self.send(task, eta=iso(seconds), queue=queue, **headers) for task in tasks]
        wait_until(lambda: self.delayed(queue) == before + len(tasks), 10, "parked")
        return ids

    def counts(self, queue="celery"):
        return {key.decode(): int(value) for key, value in self.redis.hgetall("celeriac:counts:{%s}" % queue).items()}

    def assert_adds_up(self, queue="celery"):
        counts = self.counts(queue)
        ended = sum(counts.get(name, 0) for name in ("done", "dropped", "cancelled", "expired", "revoked"))
        self.assertEqual(counts.get("claimed", 0) - counts.get("returned", 0),
                         self.in_flight(queue) + self.delayed(queue) + ended, counts)

    def test_what_is_due_first_is_listed_first(self):
        self.worker("-c", "1", "-Q", "celery,mail")
        late, = self.park("tests.noop", seconds=7200)
        soon, = self.park("tests.add", seconds=600)
        mail, = self.park("tests.noop", queue="mail")
        self.assertEqual(self.ids(), [soon, late, mail])
        row = self.rows("list", soon)[0]
        self.assertEqual((row["queue"], row["task"], row["retries"]), ("celery", "tests.add", 0))
        self.assertAlmostEqual(row["due_in"], 600, delta=20)
        due = datetime.datetime.fromisoformat(row["due"]) - datetime.datetime.now(datetime.timezone.utc)
        self.assertAlmostEqual(due.total_seconds(), 600, delta=20)
        self.assertRegex(self.verb("list").stdout,
                         rf"^task id +queue +due +in +retries +task\n{soon} +celery +\S+ +\d+m \d\ds +0 +tests.add\n")
        cases = {
            ("--queue", "mail"): [mail], ("--name", "tests.n*"): [late, mail], ("--due-before", "1000s"): [soon],
            ("--due-after", iso(5000)): [late], ("--due-after", "1000s", "--due-before", "5000s"): [mail],
            ("--name", "*.add", "--name", "x"): [soon], (late, soon): [soon, late],
        }
        for arguments, expected in cases.items():
            with self.subTest(arguments=arguments):
                self.assertEqual(self.ids(*arguments), expected)
        self.assertIn("there is no gone", self.verb("list", "gone", late, status=1).stderr)
        self.assertIn("--limit 0", self.verb("list", "--limit", "1").stderr)

    def test_cancelled_tasks_never_run_and_their_callers_hear_so(self):
        self.worker("-c", "1")
        cancelled, silent, other = self.park("tests.add", "tests.ignored", "tests.noop")
        quiet, = self.park("tests.noop", ignore_result=True)
        waiter = subprocess.Popen([CELERIAC, "result", cancelled, "--wait", "--timeout", "20s", "-b", self.server.url],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(self.rows("cancel", cancelled, silent, quiet), [{"queue": "celery", "cancelled": 3}])
        out, err = waiter.communicate(timeout=30)
        self.assertEqual(waiter.returncode, 1, out + err)
        self.assertIn("revoked", out + err)
        result = self.result(cancelled)
        self.assertEqual((result["status"], result["result"]["exc_type"], result["result"]["exc_message"],
                          result["result"]["exc_module"], result["task_id"]),
                         ("REVOKED", "TaskRevokedError", ["revoked"], "celery.exceptions", cancelled))
        self.assertLessEqual(self.redis.ttl("celery-task-meta-" + cancelled), 86400)
        self.assertGreater(self.redis.ttl("celery-task-meta-" + cancelled), 86000)
        self.assertEqual(self.result(quiet)["status"], "PENDING")
        self.assertEqual(self.ids(), [other])
        self.assertEqual(self.counts()["cancelled"], 3)
        self.assert_adds_up()
        self.assertIn("there is no", self.verb("cancel", cancelled, status=1).stderr)

    def test_a_result_elsewhere_is_stored_there(self):
        other = RedisServer(self.folder, "results")
        self.addCleanup(other.stop)
        other.start()
        backend = {"CELERIAC_RESULT_BACKEND": other.url}
        self.worker("-c", "1", environment=backend)
        id, = self.park("tests.add")
        self.verb("cancel", id, environment=backend)
        self.assertEqual(json.loads(other.client().get("celery-task-meta-" + id))["status"], "REVOKED")
        self.assertEqual(self.redis.exists("celery-task-meta-" + id), 0)

    def test_a_retry_between_two_tries_can_be_cancelled(self):
        self.worker("-c", "1")
        id = self.send("tests.retry", 60000, 1)
        self.wait(id, states=("RETRY",))
        self.assertEqual(self.rows("list")[0]["retries"], 1)
        self.verb("cancel", "--all")
        self.assertEqual(self.result(id)["status"], "REVOKED")
        self.assert_adds_up()

    def test_the_ledger_forgets_what_is_cancelled_alone(self):
        self.worker("-c", "1", "--track-ids")
        one, two, three = self.park("tests.noop", "tests.noop", "tests.noop")
        self.verb("cancel", one)
        self.assertEqual({id.decode() for id in self.redis.hkeys("celeriac:ledger:{celery}")}, {two, three})
        self.verb("run-now", two)
        self.wait(two)
        wait_until(lambda: self.redis.hkeys("celeriac:ledger:{celery}") == [three.encode()], 5, "it has ended")

    def test_run_now_runs_at_once(self):
        self.worker("-c", "1")
        ids = self.park("tests.add", "tests.add")
        self.send("tests.retry", 60000, 1)
        wait_until(lambda: self.delayed() == 3, 10, "the retry is parked")
        self.assertEqual(self.rows("run-now", ids[0]), [{"queue": "celery", "run_now": 1}])
        self.assertEqual(self.wait(ids[0])["status"], "FAILURE")  # it was called without arguments
        self.assertEqual(self.rows("run-now", "--all"), [{"queue": "celery", "run_now": 2}])
        self.assertEqual(self.wait(ids[1])["status"], "FAILURE")
        self.wait_idle()
        self.assert_adds_up()

    def test_run_now_without_the_right_to_push_loses_nothing(self):
        self.redis.zadd("celeriac:delayed:{celery}", {b"n/1.0\n" + message("tests.noop", id="kept")[1]: 10 ** 13})
        self.redis.acl_setuser("default", enabled=True, commands=["-rpush"])
        self.addCleanup(self.redis.acl_setuser, "default", enabled=True, commands=["+rpush"])
        self.verb("run-now", "--all", status=77)
        self.assertEqual(self.delayed(), 1)

    def test_run_now_keeps_the_priority_and_goes_first(self):
        for at, step in ((1, "6"), (2, "6"), (3, "0")):
            _, text = message("tests.noop", id=f"id-{at}", eta=iso(3600))
            self.redis.zadd("celeriac:delayed:{celery}", {b"n/%d.%s\n" % (at, step.encode()) + text: at})
        self.redis.lpush("celery\x06\x166", message("tests.noop", id="waits")[1])
        self.verb("run-now", "--all")
        ids = [json.loads(text)["headers"]["id"] for text in self.redis.lrange("celery\x06\x166", 0, -1)]
        self.assertEqual(ids, ["waits", "id-2", "id-1"])
        headers = json.loads(self.redis.lindex("celery", 0))["headers"]
        self.assertEqual((headers["id"], headers["eta"]), ("id-3", None))

    def test_many_are_cancelled_in_parts_by_several_at_once(self):
        self.redis.zadd("celeriac:delayed:{celery}", {
            b"n/%d.0\n" % at + message("tests.noop", id=f"id-{at}")[1]: 10 ** 13 + at // 100 for at in range(3000)})
        processes = [subprocess.Popen([CELERIAC, "delayed", "cancel", "--all", "--json", "-b", self.server.url],
                                      stdout=subprocess.PIPE) for _ in range(3)]
        done = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
        self.assertEqual(sum(row["cancelled"] for rows in done for row in rows), 3000)
        self.assertEqual(self.delayed(), 0)
        self.assertEqual(len(list(self.redis.scan_iter("celery-task-meta-id-*", 1000))), 3000)

    def test_old_and_odd_members(self):
        old = json.dumps({"task": "tests.noop", "id": "old", "args": [], "kwargs": {}, "eta": iso(3600)})
        envelope = json.dumps({"body": old, "headers": {}, "content-type": "application/json",
                               "content-encoding": "utf-8", "properties": {"delivery_tag": "t"}})
        self.redis.zadd("celeriac:delayed:{celery}", {"n/1.0\n" + envelope: 1, b"\xff odd": 1e300, b"inf": float("inf")})
        rows = self.rows("list")
        self.assertEqual([row["task_id"] for row in rows], ["old", None, None])
        self.verb("run-now", "old")
        self.assertEqual(json.loads(self.redis.lindex("celery", 0))["headers"]["id"], "old")
        self.verb("cancel", "--all")
        self.assertEqual(self.delayed(), 0)

    def test_the_wrong_words_are_refused(self):
        cases = {
            (): "say what to do: list, cancel or run-now", ("stop",): '"stop" is no action',
            ("cancel",): "say which ones", ("run-now", "--queue", "celery"): "say which ones",
            ("cancel", "--all", "x"): "either ids or --all", ("list", "--due-before", "soon"): "is no moment",
            ("list", "--queue", ""): "has a name",
        }
        for arguments, words in cases.items():
            with self.subTest(arguments=arguments):
                done = self.verb(*arguments, status=2)
                self.assertIn(words, done.stderr)
                self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1))


if __name__ == "__main__":
    unittest.main()
