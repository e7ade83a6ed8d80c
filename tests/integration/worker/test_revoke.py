"""Revocations: kept by Redis, known by every worker before it runs what was claimed after them."""
import json
import os
import random
import subprocess
import time
import unittest

from integration.worker.calls import WorkerTest, message
from support.servers import CELERIAC, celeriac

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
            self.revoke_raw(id)
            self.redis.lpush("celery", text)
            self.revoked(id, "revoked")
        self.assertEqual(self.get(self.send("tests.add", 1, 2)), 3)

    def revoke_raw(self, id):
        """As celeriac revoke does, without starting a process for each."""
        number = self.redis.incr("celeriac:revoked:number")
        seconds, microseconds = self.redis.time()
        self.redis.xadd("celeriac:revoked", {"id": id, "stamp": "", "value": "", "signal": "",
                                             "at": seconds * 1000 + microseconds // 1000}, id=f"{number}-0")

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
        self.assertIn("SIGKILL", worker.text())

    def test_terminate_never_hits_another_task(self):
        worker = self.worker("-c", "2", "-l", "warning")
        chance = random.Random(2)
        meant, others = [], []
        for _ in range(300):
            victim, spared = self.send("tests.sleep", chance.randint(0, 4)), self.send("tests.sleep", 2)
            meant.append(victim)
            others.append(spared)
            time.sleep(chance.random() * 0.004)
            number = self.redis.incr("celeriac:revoked:number")
            seconds, microseconds = self.redis.time()
            self.redis.xadd("celeriac:revoked", {"id": victim, "stamp": "", "value": "", "signal": "TERM",
                                                 "at": seconds * 1000 + microseconds // 1000}, id=f"{number}-0")
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
        self.revoke("--expires", "1s", "another")
        self.assertEqual(self.redis.xlen("celeriac:revoked"), 1)
        self.assertEqual(worker.stop(), 0)
        self.worker("-c", "1", name="later")
        self.redis.lpush("celery", text)
        self.assertEqual(self.get(id), 3)

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
