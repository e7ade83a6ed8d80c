"""What is stored of a task, and how its reader hears of it."""
import datetime
import json
import threading
import uuid

from celery import chord

from conformance.rig import META, Case, fixed, wait_until

SECONDS_OF_SLACK = 60


class Documents(Case):
    def test_the_document_of_a_success(self):
        document = self.document(self.tasks.add.delay(1, 2).id)
        self.assertEqual((document["status"], document["result"], document["traceback"], document["children"]),
                         ("SUCCESS", 3, None, []))

    def test_the_id_stands_in_it(self):
        result = self.tasks.add.delay(1, 2)
        self.assertEqual(self.document(result.id)["task_id"], result.id)

    def test_a_date_in_utc(self):
        done = datetime.datetime.fromisoformat(self.document(self.tasks.add.delay(1, 2).id)["date_done"])
        done = done.replace(tzinfo=done.tzinfo or datetime.timezone.utc)
        self.assertLess(abs((datetime.datetime.now(datetime.timezone.utc) - done).total_seconds()), SECONDS_OF_SLACK)

    def test_null_is_a_result(self):
        result = self.tasks.identity.delay(None)
        self.assertIsNone(self.get(result))
        self.assertEqual(self.stored(result.id)["status"], "SUCCESS")

    def test_it_expires_after_a_day(self):
        result = self.tasks.add.delay(1, 2)
        self.get(result)
        self.assertTrue(86400 - SECONDS_OF_SLACK <= self.redis.ttl(META + result.id) <= 86400)

    def test_a_failure_expires_as_well(self):
        result = self.tasks.fail.delay()
        self.document(result.id)
        self.assertTrue(86400 - SECONDS_OF_SLACK <= self.redis.ttl(META + result.id) <= 86400)

    def test_the_group_stands_in_it(self):
        result = self.tasks.add.apply_async((1, 2), group_id="the-group")
        self.assertEqual(self.document(result.id)["group_id"], "the-group")

    def test_the_parent_stands_in_it(self):
        result = self.tasks.add.apply_async((1, 2), parent_id="the-parent")
        self.assertEqual(self.document(result.id)["parent_id"], "the-parent")

    def test_a_result_is_published_as_it_is_stored(self):
        signature = fixed(self.tasks.add.s(1, 2))
        key = META + signature.options["task_id"]
        with self.redis.pubsub() as channel:
            channel.subscribe(key)
            channel.get_message(timeout=5)
            signature.apply_async()
            message = channel.get_message(ignore_subscribe_messages=True, timeout=10)
        self.assertEqual(json.loads(message["data"]), json.loads(self.redis.get(key)))

    def test_a_failure_is_published(self):
        signature = fixed(self.tasks.fail.s())
        key = META + signature.options["task_id"]
        with self.redis.pubsub() as channel:
            channel.subscribe(key)
            channel.get_message(timeout=5)
            signature.apply_async()
            message = channel.get_message(ignore_subscribe_messages=True, timeout=10)
        self.assertEqual(json.loads(message["data"])["status"], "FAILURE")

    def test_a_success_is_not_overwritten(self):
        id = str(uuid.uuid4())
        self.gets(self.tasks.add.s(1, 2), 3, task_id=id)
        key = self.key()
        self.tasks.fail.apply_async(task_id=id, link_error=self.tasks.redis_count.si(key))
        self.counted(key)
        self.assertEqual((self.stored(id)["status"], self.stored(id)["result"]), ("SUCCESS", 3))

    def test_a_failure_may_be_overwritten(self):
        id = str(uuid.uuid4())
        self.tasks.fail.apply_async(task_id=id)
        self.document(id, "FAILURE")
        self.tasks.add.apply_async((1, 2), task_id=id)
        self.assertEqual(self.document(id, "SUCCESS")["result"], 3)

    def test_forget(self):
        result = self.tasks.add.delay(1, 2)
        self.get(result)
        result.forget()
        self.assertIsNone(self.stored(result.id))

    def test_nothing_is_stored_before_the_end(self):
        result = self.tasks.sleeping.delay(0.5)
        self.passes(0.2)
        self.assertIsNone(self.stored(result.id))
        self.assertIsNone(self.get(result))

    def test_many_readers_of_one_result(self):
        result = self.tasks.delayed_sum.delay([1, 2], 0.3)
        answers = []
        readers = [threading.Thread(target=lambda: answers.append(self.app.AsyncResult(result.id).get(timeout=20)))
                   for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self.assertEqual(answers, [3] * 4)


class Ignored(Case):
    """Tasks without a stored result; that one has run is told by a callback."""

    def runs_unseen(self, signature, *args, **options):
        key = self.key()
        result = signature.apply_async(args, link=self.tasks.redis_count.si(key), **options)
        self.counted(key)
        self.passes(0.1)
        self.assertIsNone(self.stored(result.id))

    def test_the_header_says_so(self):
        self.runs_unseen(self.tasks.add.s(1, 2), ignore_result=True)

    def test_the_task_says_so(self):
        self.runs_unseen(self.tasks.add_ignore_result.s(1, 2))

    def test_a_failure_is_not_stored_where_the_task_and_the_header_say_so(self):
        key = self.key()
        result = self.tasks.add_ignore_result.apply_async((1, "a"), ignore_result=True,
                                                          link_error=self.tasks.redis_count.si(key))
        self.counted(key)
        self.assertIsNone(self.stored(result.id))

    def test_it_counts_in_a_chord_all_the_same(self):
        header = [self.tasks.add.s(i, i).set(ignore_result=True) for i in range(3)]
        self.assertEqual(self.get(chord(header)(self.tasks.tsum.s())), 6)

    def test_a_chain_goes_on(self):
        self.gets(self.tasks.add.s(1, 2).set(ignore_result=True) | self.tasks.add.s(3), 6)


class Channels(Case):
    """A worker listens to no channel because of a task (PSUBSCRIBE does not show here)."""

    def test_none_while_a_task_runs(self):
        key, before = self.key(), set(self.redis.pubsub_channels())
        self.tasks.sleeping.apply_async((0.5,), ignore_result=True, link=self.tasks.redis_count.si(key).set(ignore_result=True))
        self.passes(0.25)
        self.assertEqual(set(self.redis.pubsub_channels()), before)
        self.counted(key)
        self.assertEqual(set(self.redis.pubsub_channels()), before)

    def test_none_after_a_chord(self):
        before = set(self.redis.pubsub_channels())
        result = chord([self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)])(self.tasks.tsum.s())
        self.assertEqual(self.get(result), 6)
        wait_until(lambda: set(self.redis.pubsub_channels()) <= before, 5, "no channel is left")
