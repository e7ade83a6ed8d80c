"""Revocations: kept by Redis, known by every worker before it runs what was claimed after them."""
import json
import os
import random
import signal
import subprocess
import time
import unittest

from integration.worker.calls import WorkerTest, message
from support.servers import CELERIAC, celeriac, revoke, wait_until

REVOKED = ("TaskRevokedError", "celery.exceptions")


class Revoke(WorkerTest):
    def revoke(self, *arguments):
        done = celeriac("revoke", *arguments, redis=self.server)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def revoked(self, id, why, seconds=10):
        result = self.wait(id, seconds)
        self.assertEqual(result["status"], "REVOKED", result)
        self.assertEqual((result["result"]["exc_type"], result["result"]["exc_module"]), REVOKED)
        self.assertEqual(result["result"]["exc_message"], [why])

    def counts(self):
        return {key.decode(): int(value) for key, value in self.redis.hgetall("celeriac:counts:{celery}").items()}

    def test_what_was_revoked_while_every_worker_was_down_never_runs(self):
        ids = [self.send("tests.add", n, 1) for n in range(3000)]
        chosen = set(random.Random(1).sample(ids, 1500))
        list_of_ids = "\n".join(chosen)
        done = celeriac_with_input(self.server, list_of_ids, "revoke", "--stdin", "--json")
        self.assertEqual(json.loads(done), [{"revoked": 1500}])
        worker = self.worker("-c", "2", "-l", "warning")
        for n, id in enumerate(ids):
            if id in chosen:
                self.revoked(id, "revoked", 30)
            else:
                self.assertEqual(self.get(id, 30), n + 1)
        self.wait_idle()
        self.assertEqual((self.counts()["revoked"], self.counts()["done"]), (1500, 1500))
        self.assertNotIn("level=error", worker.text())

    def test_a_revocation_holds_for_what_is_claimed_after_it(self):
        """Each is revoked, then pushed, so that it is claimed at once by an idle worker."""
        self.worker("-c", "2", "-l", "warning")
        for _ in range(100):
            id, text = message("tests.add", 1, 2)
            revoke(self.redis, id)
            self.redis.lpush("celery", text)
            self.revoked(id, "revoked")
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)

    def test_delayed_and_retried_tasks_are_revoked(self):
        self.worker("-c", "1")
        late, late_text = message("tests.add", 1, 2, eta="2099-01-01T00:00:00+00:00")
        retried = self.send("tests.retry", 600)
        self.wait(retried, states=("RETRY",))
        self.revoke(retried, late)
        self.redis.lpush("celery", late_text)
        self.revoked(retried, "revoked")
        self.revoked(late, "revoked")
        self.wait_idle()
        self.assertEqual(self.delayed(), 0)

    def test_a_running_task_runs_on_unless_it_is_terminated(self):
        worker = self.worker("-c", "2")
        left, ended, other = (self.send("tests.sleep", ms) for ms in (700, 60000, 700))
        for id in (left, ended):
            self.running(worker, id)
        self.revoke(left)
        begun = time.monotonic()
        self.revoke("--terminate", ended)
        self.revoked(ended, "terminated", 2)
        self.assertLess(time.monotonic() - begun, 1.5)
        self.assertEqual(self.wait(left)["status"], "SUCCESS")
        self.assertEqual(self.wait(other)["status"], "SUCCESS")
        self.wait_idle()
        self.assertEqual(self.counts()["revoked"], 1)

    def test_terminate_by_a_signal_of_choice(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.crash", "loop")
        self.running(worker, id)
        self.revoke("--signal", "SIGKILL", id)
        self.revoked(id, "terminated", 3)
        worker.says("SIGKILL")

    def test_terminate_never_hits_another_task(self):
        worker = self.worker("-c", "2", "-l", "warning")
        chance = random.Random(2)
        meant, others = [], []
        for _ in range(300):
            victim, spared = self.send("tests.sleep", chance.randint(0, 4)), self.send("tests.sleep", 2)
            meant.append(victim)
            others.append(spared)
            time.sleep(chance.random() * 0.004)
            revoke(self.redis, victim, "TERM")
        for id in others:
            self.assertEqual(self.wait(id, 30)["status"], "SUCCESS")
        outcomes = [self.wait(id, 30)["status"] for id in meant]
        self.assertLessEqual(set(outcomes), {"SUCCESS", "REVOKED"})
        self.assertIn("REVOKED", outcomes)
        self.wait_idle()
        self.assertNotIn("delivered again", worker.text())

    def test_stamped_headers(self):
        worker = self.worker("-c", "1")
        stamps = {"stamped_headers": ["customer"], "stamps": {"customer": ["41", "42"]}}
        running = self.send("tests.sleep", 60000, **stamps)
        self.running(worker, running)
        waiting = self.send("tests.add", 1, 2, **stamps)
        other = self.send("tests.add", 1, 2, stamped_headers=["customer"], stamps={"customer": "43"})
        self.revoke("--terminate", "--stamp", "customer=42")
        self.revoked(running, "terminated")
        self.revoked(waiting, "revoked")
        self.assertEqual(self.get(other), 3)

    def test_revocations_are_forgotten(self):
        worker = self.worker("-c", "1")
        id, text = message("tests.add", 1, 2)
        self.revoke("--expires", "1s", id)
        time.sleep(1.1)
        self.revoke("another")
        self.redis.lpush("celery", text)
        self.assertEqual(self.get(id), 3)
        self.assertEqual(worker.stop(), 0)
        self.revoke("one more")
        self.assertEqual(self.known(), ["another", "one more"])
        self.assertEqual(self.redis.zcard("celeriac:revoked:until"), 2)
        self.redis.delete("celery-task-meta-" + id)
        self.worker("-c", "1", name="later")
        self.redis.lpush("celery", text)
        self.assertEqual(self.get(id), 3)

    def known(self):
        return [fields[b"id"].decode() for _, fields in self.redis.xrange("celeriac:revoked")]

    def test_each_revocation_has_its_own_expiry(self):
        """Neither the worker's setting nor a later one of shorter life takes it along."""
        config = os.path.join(self.folder, "celeriac.conf")
        with open(config, "w") as file:
            file.write("[celeriac]\nrevoke_expires = 1s\n")
        self.worker("-c", "1", "--config", config)
        (first, first_text), (second, second_text) = message("tests.add", 1, 2), message("tests.add", 1, 2)
        self.revoke("--expires", "1h", first, second)
        self.revoke("--expires", "1s", "short")
        self.revoke("--expires", "1s", first)
        time.sleep(1.1)
        self.revoke("--expires", "1s", "one more")
        self.revoke("--expires", "1s", "and one")
        self.assertEqual(self.known(), [first, second, "one more", "and one"])
        self.redis.lpush("celery", first_text)
        self.revoked(first, "revoked")
        self.worker("-c", "1", "-Q", "other", name="later")
        self.redis.lpush("other", second_text)
        self.revoked(second, "revoked")

    def test_a_worker_that_may_not_read_them_says_so_and_hoards_nothing(self):
        worker = self.worker("-c", "2")
        self.redis.acl_setuser("default", enabled=True, commands=["-xrange"])
        self.addCleanup(self.redis.acl_setuser, "default", enabled=True, commands=["+xrange"])
        revoke(self.redis, "somebody")
        ids = [self.send("tests.add", n, 1) for n in range(40)]
        wait_until(lambda: "Revocations cannot be read" in worker.text(), 10, "an error in the log")
        time.sleep(6)  # longer than a probe's pause
        self.assertLessEqual(self.in_flight(), 20)
        self.redis.acl_setuser("default", enabled=True, commands=["+xrange"])
        self.assertEqual([self.get(id) for id in ids], [n + 1 for n in range(40)])
        worker.says("Revocations cannot be read", 1)
        worker.says("Revocations can be read again")

    def revoke_and_send(self):
        id, text = message("tests.add", 1, 2)
        revoke(self.redis, id)
        self.redis.lpush("celery", text)
        self.revoked(id, "revoked")
        return id

    def test_a_revocation_holds_where_others_were_lost(self):
        """Redis comes back without the newest ones, which the worker knows, and gives their numbers out again."""
        worker = self.worker("-c", "2")
        running = self.send("tests.sleep", 60000)
        self.running(worker, running)
        kept = self.revoke_and_send()
        self.redis.save()
        lost = [self.revoke_and_send() for _ in range(2)]
        self.server.stop(signal.SIGKILL)
        self.server.start()
        self.assertEqual(self.known(), [kept])
        known = [self.revoke_and_send() for _ in range(2)]
        revoke(self.redis, running, "TERM")
        self.revoked(running, "terminated")
        for id in (kept, *lost, *known):  # what was lost is known to this worker until it is over
            self.redis.delete("celery-task-meta-" + id)
            self.redis.lpush("celery", message("tests.add", 1, 2, id=id)[1])
            self.revoked(id, "revoked")
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)

    def test_a_revocation_that_is_over_ends_nothing_when_all_are_read_again(self):
        worker = self.worker("-c", "1")
        id = self.send("tests.sleep", 60000)
        self.running(worker, id)
        first = revoke(self.redis, id, "TERM", kept_ms=1000)
        self.revoked(id, "terminated")
        time.sleep(1.1)
        other = self.revoke_and_send()
        self.redis.delete("celery-task-meta-" + id)
        self.send("tests.sleep_tracked", 3000, id=id)
        self.wait(id, states=("STARTED",))
        with self.redis.pipeline() as step:  # another is lost: the first is met once more
            step.xdel("celeriac:revoked", *(at for at, fields in self.redis.xrange("celeriac:revoked")
                                            if fields[b"id"].decode() == other))
            step.set("celeriac:revoked:newest", first)
            step.execute()
        self.assertEqual(self.known(), [id])
        revoke(self.redis, "another")
        self.assertEqual(self.wait(id)["status"], "SUCCESS")

    def test_a_key_of_another_type_refuses_the_whole(self):
        for suffix in ("", ":newest", ":until"):
            key = "celeriac:revoked" + suffix
            self.redis.rpush(key, "x")
            done = celeriac("revoke", "x", redis=self.server)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("WRONGTYPE", done.stderr)
            self.assertEqual(self.redis.keys("*"), [key.encode()])
            self.redis.delete(key)

    def test_errors_name_what_is_wrong(self):
        for arguments, words in ((("x", "--signal", "NONE"), "no signal"), ((), "name the ids"),
                                 (("--stamp", "x"), "NAME=VALUE")):
            done = celeriac("revoke", *arguments, redis=self.server)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(words, done.stderr)


def celeriac_with_input(server, text, *arguments):
    done = subprocess.run([CELERIAC, *arguments], input=text, capture_output=True, text=True, check=True, timeout=30,
                          env={**os.environ, "CELERIAC_BROKER_URL": server.url})
    return done.stdout


if __name__ == "__main__":
    unittest.main()
