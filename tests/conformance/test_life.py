"""What becomes of a task that waits: eta, expires, revoke, priorities."""
import datetime
import time

from celery import chord
from celery.exceptions import TaskRevokedError

from conformance.rig import SLOTS, Case, fixed, wait_until


def in_seconds(seconds, zone=datetime.timezone.utc):
    return datetime.datetime.now(zone) + datetime.timedelta(seconds=seconds)


class Eta(Case):
    def test_not_before_its_time(self):
        begin = time.monotonic()
        self.gets(self.tasks.add.s(1, 2), 3, countdown=1)
        self.assertGreaterEqual(time.monotonic() - begin, 0.99)

    def test_more_than_three_seconds(self):
        begin = time.monotonic()
        self.gets(self.tasks.add.s(1, 2), 3, countdown=3.2)
        self.assertGreater(time.monotonic() - begin, 3)

    def test_an_eta_with_an_offset(self):
        begin = time.monotonic()
        zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
        self.gets(self.tasks.add.s(1, 2), 3, eta=in_seconds(1, zone))
        self.assertGreaterEqual(time.monotonic() - begin, 0.99)

    def test_an_eta_in_the_past(self):
        self.gets(self.tasks.add.s(1, 2), 3, eta=in_seconds(-60))

    def test_nothing_is_stored_while_it_waits(self):
        result = self.tasks.add.apply_async((1, 2), countdown=0.8)
        self.passes(0.4)
        self.assertIsNone(self.stored(result.id))
        self.assertEqual(result.state, "PENDING")
        self.assertEqual(self.get(result), 3)

    def test_those_that_wait_block_no_slot(self):
        waiting = [self.tasks.add.apply_async((i, i), countdown=1.5) for i in range(3 * SLOTS)]
        begin = time.monotonic()
        self.gets(self.tasks.add.s(1, 2), 3)
        self.assertLess(time.monotonic() - begin, 1.2)
        self.assertEqual([self.get(result) for result in waiting], [2 * i for i in range(3 * SLOTS)])

    def test_the_sooner_comes_first(self):
        key = self.key()
        for seconds in (2.2, 1.2, 0.2):
            self.tasks.redis_echo.apply_async((str(seconds), key), countdown=seconds)
        self.assertEqual(self.list_of(key, 3), ["0.2", "1.2", "2.2"])


class Expires(Case):
    def is_expired(self, result):
        document = self.document(result.id)
        self.assertEqual(document["status"], "REVOKED")
        self.assertEqual(document["result"], {"exc_type": "TaskRevokedError", "exc_message": ["expired"],
                                              "exc_module": "celery.exceptions"})
        self.assertIsNone(document["traceback"])
        self.fails(self.app.AsyncResult(result.id), TaskRevokedError, "expired")

    def test_in_time(self):
        self.gets(self.tasks.add.s(1, 2), 3, expires=60)
        self.gets(self.tasks.add.s(1, 2), 3, expires=in_seconds(60, datetime.timezone(datetime.timedelta(hours=-3))))

    def test_before_it_came(self):
        self.is_expired(self.tasks.add.apply_async((1, 2), expires=in_seconds(-10)))

    def test_while_it_waited_for_its_eta(self):
        self.is_expired(self.tasks.add.apply_async((1, 2), expires=0.2, countdown=0.6))

    def test_while_it_waited_for_a_slot(self):
        blocking = [self.tasks.sleeping.delay(2) for _ in range(2 * SLOTS)]
        result = self.tasks.add.apply_async((1, 2), expires=1)
        self.is_expired(result)
        for other in blocking:
            self.get(other)

    def test_it_never_runs(self):
        key = self.key()
        self.is_expired(self.tasks.redis_count.apply_async((key,), expires=in_seconds(-10)))
        self.assertIsNone(self.redis.get(key))


class Revoke(Case):
    """The control command revoke."""

    def is_revoked(self, result, why="revoked"):
        document = self.document(result.id)
        self.assertEqual((document["status"], document["result"]["exc_message"]), ("REVOKED", [why]))
        self.fails(self.app.AsyncResult(result.id), TaskRevokedError, why)

    def revoke(self, *ids, **options):
        self.app.control.revoke(list(ids) if len(ids) > 1 else ids[0], reply=True, timeout=10, limit=1, **options)

    def test_before_it_comes(self):
        signature = fixed(self.tasks.add.s(1, 2))
        self.revoke(signature.options["task_id"])
        self.is_revoked(signature.apply_async())

    def test_while_it_waits_for_its_eta(self):
        result = self.tasks.add.apply_async((1, 2), countdown=1)
        self.revoke(result.id)
        self.is_revoked(result)

    def test_while_it_waits_for_a_slot(self):
        blocking = [self.tasks.sleeping.delay(1) for _ in range(SLOTS)]
        result = self.tasks.add.apply_async((1, 2))
        self.revoke(result.id)
        self.is_revoked(result)
        for other in blocking:
            self.get(other)

    def test_several(self):
        results = [self.tasks.add.apply_async((1, 2), countdown=0.7) for _ in range(3)]
        self.revoke(*(result.id for result in results))
        for result in results:
            self.is_revoked(result)

    def test_one_that_runs_goes_on(self):
        result = self.tasks.delayed_sum.delay([1, 2], 0.7)
        wait_until(lambda: self.is_active(result.id), 10, "it is active")
        self.revoke(result.id)
        self.assertEqual(self.document(result.id, "SUCCESS")["result"], 3)

    def test_one_that_runs_is_terminated(self):
        result = self.tasks.sleeping.delay(30)
        wait_until(lambda: self.is_active(result.id), 10, "it is active")
        self.revoke(result.id, terminate=True)
        self.is_revoked(result, "terminated")
        self.gets(self.tasks.add.s(1, 2), 3)

    def test_it_is_listed_at_once(self):
        result = self.tasks.add.apply_async((1, 2), countdown=60)
        self.revoke(result.id)
        (ids,) = self.app.control.inspect(timeout=10, limit=1).revoked().values()
        self.assertIn(result.id, ids)

    def test_a_header_task(self):
        waits = fixed(self.tasks.add.s(1, 1)).set(countdown=0.7)
        result = chord([waits, self.tasks.add.s(2, 2)])(self.tasks.tsum.s())
        self.revoke(waits.options["task_id"])
        document = self.document(result.id)
        self.assertEqual(document["result"]["exc_type"], "ChordError")
        self.assertIn("revoked", document["result"]["exc_message"][0])

    def test_callbacks_and_errbacks_stay_untouched(self):
        key = self.key()
        result = self.tasks.add.apply_async((1, 2), countdown=0.5, link=self.tasks.redis_count.si(key),
                                            link_error=self.tasks.redis_count.si(key))
        self.revoke(result.id)
        self.is_revoked(result)
        self.passes(0.2)
        self.assertIsNone(self.redis.get(key))

    def is_active(self, id):
        active = self.app.control.inspect(timeout=10, limit=1).active() or {}
        return any(info["id"] == id for infos in active.values() for info in infos)


class Priorities(Case):
    def test_lists(self):
        """3 ... 9 have lists of their own; the lower number goes first."""
        for priority in range(10):
            self.gets(self.tasks.return_priority.s(), f"Priority: {priority}", priority=priority)

    def test_the_lower_number_runs_first(self):
        key = self.key()
        blocking = [self.tasks.sleeping.delay(1) for _ in range(SLOTS)]
        self.passes(0.3)
        with self.app.producer_pool.acquire() as producer:
            for priority in (9, 9, 9, 0):
                self.tasks.redis_echo.apply_async((str(priority), key), priority=priority, producer=producer)
        texts = self.list_of(key, 4)
        if SLOTS == 1:
            self.assertIn("0", texts[:2])  # one may have been taken before
        for other in blocking:
            self.get(other)
