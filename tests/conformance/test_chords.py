"""Chords: a body that runs when all of a header have ended."""
import json

from celery import chain, chord, group
from celery.exceptions import ChordError

from conformance.rig import TASKSET, Case, fixed, last_id, reference_fails, signature_of, wait_until


def keys_of(group_id):
    return [TASKSET + group_id + suffix for suffix in (".j", ".t", ".s")]


class Success(Case):
    def test_a_sum(self):
        self.assertEqual(self.get(chord(self.tasks.add.s(i, i) for i in range(10))(self.tasks.tsum.s())), 90)

    def test_one_header_task(self):
        self.assertEqual(self.get(chord([self.tasks.add.s(1, 2)])(self.tasks.tsum.s())), 3)

    def test_an_empty_header(self):
        self.assertEqual(self.get(chord([])(self.tasks.identity.s())), [])

    def test_results_have_the_order_of_the_header(self):
        header = [self.tasks.delayed_sum.s([i], pause_time=(7 - i) / 30) for i in range(8)]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), list(range(8)))

    def test_more_than_ten_keep_their_order(self):
        self.assertEqual(self.get(chord(self.tasks.identity.s(i) for i in range(120))(self.tasks.identity.s())), list(range(120)))

    def test_equal_results_count_each(self):
        self.assertEqual(self.get(chord(self.tasks.identity.s(1) for _ in range(5))(self.tasks.identity.s())), [1] * 5)

    def test_results_of_every_kind(self):
        values = [None, True, 2 ** 70, 0.5, "é", [1, [2]], {"a": {}}, []]
        self.assertEqual(self.get(chord(self.tasks.identity.s(value) for value in values)(self.tasks.identity.s())), values)

    def test_an_immutable_body(self):
        self.assertEqual(self.get(chord([self.tasks.add.s(1, 1)] * 2)(self.tasks.add.si(10, 20))), 30)

    def test_own_arguments_of_the_body_follow(self):
        self.assertEqual(self.get(chord([self.tasks.identity.s(1), self.tasks.identity.s(2)])(self.tasks.add.s([3]))), [1, 2, 3])

    def test_a_chain_as_body(self):
        self.assertEqual(self.get(chord([self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)])(self.tasks.tsum.s() | self.tasks.add.s(10))), 16)

    def test_a_group_as_body(self):
        result = chord([self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)])(group(self.tasks.tsum.s(), self.tasks.identity.s()))
        self.assertEqual(self.get(result), [6, [2, 4]])

    def test_a_chord_as_body(self):
        body = chord([self.tasks.tsum.s(), self.tasks.tsum.s()], self.tasks.tsum.s())
        self.assertEqual(self.get((group(self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)) | body).apply_async()), 12)

    def test_chains_in_the_header(self):
        header = [chain(self.tasks.add.s(1, 2), self.tasks.add.s(10)), self.tasks.add.s(3, 4)]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), [13, 7])

    def test_a_chord_in_the_header(self):
        inner = chord([self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)], self.tasks.tsum.s())
        self.assertEqual(self.get(chord([inner, self.tasks.add.s(3, 3)])(self.tasks.identity.s())), [6, 6])

    def test_a_group_with_a_body_in_the_header(self):
        inner = group(self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)) | self.tasks.tsum.s()
        self.assertEqual(self.get(chord([self.tasks.add.s(3, 3), inner])(self.tasks.identity.s())), [6, 6])

    def test_chords_in_chords_in_chords(self):
        one = chord([self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)], self.tasks.tsum.s())
        two = chord([one, self.tasks.add.s(3, 3)], self.tasks.tsum.s())
        self.assertEqual(self.get(chord([two, one, self.tasks.add.s(5, 5)])(self.tasks.identity.s())), [12, 6, 10])

    def test_many_chords_in_one_another(self):
        """Headers within headers, and bodies within bodies."""
        header, body = self.tasks.add.s(1, 1), self.tasks.tsum.s()
        for _ in range(4):
            header = chord([header, self.tasks.add.s(1, 1)], self.tasks.tsum.s())
            body = self.tasks.tsum.s() | chord([self.tasks.add.s(1), self.tasks.identity.s()], body)
        self.assertEqual(self.get((group(header, self.tasks.identity.s(0)) | body).apply_async()), 175)

    def test_a_group_in_the_header(self):
        """It is flattened; Celery numbers its members backwards, as the messages say that the client has sent."""
        header = group(group(self.tasks.identity.s(1), self.tasks.identity.s(2)), self.tasks.identity.s(3))
        self.assertEqual(sorted(self.get(chord(header)(self.tasks.identity.s()))), [1, 2, 3])

    def test_groups_of_groups_in_the_header(self):
        inner = group(group(self.tasks.identity.s(1), self.tasks.identity.s(2)), self.tasks.identity.s(3))
        self.assertEqual(sorted(self.get(chord([inner, self.tasks.identity.s(4)])(self.tasks.identity.s()))), [1, 2, 3, 4])

    def test_a_header_chain_that_ends_in_a_group(self):
        header = [chain(self.tasks.add.s(1, 1), group(self.tasks.add.s(10), self.tasks.add.s(20))), self.tasks.identity.s(3)]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), [[12, 22], 3])

    def test_in_a_chain(self):
        canvas = chain(self.tasks.add.s(1, 1), chord([self.tasks.add.s(1), self.tasks.add.s(2)], self.tasks.tsum.s()), self.tasks.add.s(100))
        self.gets(canvas, 107)

    def test_the_header_gets_the_result_before(self):
        canvas = self.tasks.identity.s(5) | chord([self.tasks.add.s(1), self.tasks.add.si(1, 1), self.tasks.identity.s()], self.tasks.identity.s())
        self.gets(canvas, [6, 2, 5])

    def test_in_a_group(self):
        inner = chord([self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)], self.tasks.tsum.s())
        self.gets(group(inner, self.tasks.add.s(1, 2), inner), [6, 3, 6])

    def test_a_header_task_that_is_retried_keeps_its_place(self):
        header = [self.tasks.identity.s("a"), self.tasks.retry_once_priority.s(), self.tasks.identity.s("c")]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), ["a", 0, "c"])

    def test_a_header_task_that_waits(self):
        header = [self.tasks.identity.s("a").set(countdown=0.3), self.tasks.identity.s("b")]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), ["a", "b"])

    def test_its_keys_are_deleted(self):
        result = chord([self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)])(self.tasks.tsum.s())
        self.assertEqual(self.get(result), 6)
        self.gone(*keys_of(result.parent.id))

    def test_a_part_before_the_last(self):
        waits = fixed(self.tasks.delayed_sum.s([1], 0.7))
        result = chord([self.tasks.identity.s("x"), waits])(self.tasks.identity.s())
        jkey, _, skey = keys_of(result.parent.id)
        first = result.parent.results[0].id
        self.get(result.parent.results[0])
        parts = wait_until(lambda: self.redis.zrange(jkey, 0, -1, withscores=True), 10, "the first part")
        self.assertEqual([(json.loads(part), score) for part, score in parts], [([1, first, "SUCCESS", "x"], 0.0)])
        self.assertEqual(int(self.redis.get(skey)), 2)
        self.assertTrue(0 < self.redis.ttl(jkey) <= 86400)
        self.assertEqual(self.get(result), ["x", 1])

    def test_the_message_of_the_body(self):
        queue = self.key("queue")
        body = fixed(self.tasks.tsum.s()).set(queue=queue)
        result = chord([self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)])(body)
        (headers, _, args, _, _), = self.sent_to(queue)
        self.assertEqual((headers["id"], args), (result.id, [[2, 4]]))
        self.assertIn(headers["parent_id"], [member.id for member in result.parent.results])

    def test_the_body_has_a_header_task_as_parent(self):
        result = chord([self.tasks.identity.s(1), self.tasks.identity.s(2)])(self.tasks.collect_ids.s(i=3))
        values, (root, parent, number) = self.get(result)
        members = [member.id for member in result.parent.results]
        self.assertEqual((values, number), ([1, 2], 3))
        self.assertIn(parent, members)
        self.assertIn(root, members)

    def test_the_ids_of_a_chain_as_body(self):
        root = fixed(self.tasks.ids.si(i=1))
        last = chain(root, self.tasks.ids.si(i=2), chord(group(self.tasks.ids.si(i=i) for i in range(3, 20)),
                                                         chain(self.tasks.collect_ids.s(i=20), self.tasks.ids.si(i=21)))).apply_async()
        root, body = root.options["task_id"], last.parent
        self.assertEqual(self.get(last), [root, body.id, 21])
        members, (body_root, body_parent, number) = self.get(body)
        self.assertEqual((body_root, number), (root, 20))
        self.assertIn(body_parent, [member.id for member in body.parent.results])
        self.assertEqual(members, [[root, body.parent.parent.id, i] for i in range(3, 20)])

    def test_a_body_that_fails(self):
        result = chord([self.tasks.identity.s(1)] * 2)(self.tasks.fail.s())
        self.fails(result, self.tasks.ExpectedException, "Task expected to fail", [1, 1])

    def test_a_callback_of_the_body(self):
        key = self.key()
        result = chord([self.tasks.identity.s("a"), self.tasks.identity.s("b")])(
            self.tasks.identity.s().set(link=self.tasks.redis_count.si(key)))
        self.assertEqual(self.get(result), ["a", "b"])
        self.counted(key)

    def test_callbacks_of_header_tasks(self):
        key = self.key()
        header = [self.tasks.identity.s(i).set(link=self.tasks.redis_count.si(key)) for i in range(3)]
        self.assertEqual(self.get(chord(header)(self.tasks.tsum.s())), 3)
        self.counted(key, 3)

    def test_map_in_the_header(self):
        header = [self.tasks.tsum.map([[1, 2], [3]]), self.tasks.add.starmap([(1, 1)])]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), [[3, 3], [2]])


class Failure(Case):
    """The body of a chord with a failed header task never runs; its id gets the ChordError."""

    def chord_fails(self, header, body=None):
        result = chord(header)(body or self.tasks.tsum.s())
        return result, self.error_of(result)

    def error_of(self, result):
        """The ChordError under the body's id alone: the client asks parents first, and raises what it finds there."""
        self.document(result.id)
        return self.fails(self.app.AsyncResult(result.id), ChordError)

    def test_the_text(self):
        failing = fixed(self.tasks.fail.s())
        _, error = self.chord_fails([self.tasks.add.s(1, 1), failing])
        self.assertEqual(str(error), f"Dependency {failing.options['task_id']} raised ExpectedException('Task expected to fail')")

    def test_the_document(self):
        failing = fixed(self.tasks.raise_error.s())
        result, _ = self.chord_fails([failing, self.tasks.add.s(1, 1)])
        self.failure(result.id, "ChordError", f"Dependency {failing.options['task_id']} raised ValueError('deliberate error')",
                     module="celery.exceptions")

    def test_the_group_of_the_failed_task(self):
        result, error = self.chord_fails([self.tasks.add.s(1, 1), self.tasks.fail.s(), self.tasks.add.s(2, 2)])
        self.assertEqual(self.stored(last_id(str(error)))["group_id"], result.parent.id)

    def test_the_parts_stay(self):
        result, error = self.chord_fails([self.tasks.add.s(1, 1), self.tasks.fail.s(), self.tasks.add.s(2, 2)])
        parts = [json.loads(part) for part in self.redis.zrange(keys_of(result.parent.id)[0], 0, -1)]
        self.assertEqual([part[2] for part in parts], ["SUCCESS", "FAILURE", "SUCCESS"])
        self.assertEqual(parts[1][1], last_id(str(error)))
        self.assertEqual(parts[1][3]["exc_type"], "ExpectedException")

    def test_the_body_does_not_run(self):
        key, error = self.key(), self.key()
        body = self.tasks.redis_count.si(key).on_error(self.tasks.redis_count.si(error))
        self.chord_fails([self.tasks.fail.s(), self.tasks.add.s(1, 1)], body)
        self.counted(error)
        self.assertIsNone(self.redis.get(key))

    def test_not_before_all_have_ended(self):
        result = chord([self.tasks.fail.s(), self.tasks.delayed_sum.s([1], 0.5)])(self.tasks.tsum.s())
        self.document(result.parent.results[0].id, "FAILURE")
        self.assertIsNone(self.stored(result.id))
        self.error_of(result)

    def test_errbacks_of_the_body_get_its_id(self):
        result, _ = self.chord_fails([self.tasks.fail.s(), self.tasks.add.s(1, 1)],
                                     self.tasks.tsum.s().on_error(self.tasks.errback_old_style.s()))
        self.counted(result.id)

    def test_errbacks_of_the_new_style(self):
        result, _ = self.chord_fails([self.tasks.fail.s(), self.tasks.add.s(1, 1)],
                                     self.tasks.tsum.s().on_error(self.tasks.errback_new_style.s()))
        self.counted(result.id)

    def test_errbacks_are_called_once_however_many_fail(self):
        result, _ = self.chord_fails([self.tasks.fail.s() for _ in range(5)],
                                     self.tasks.tsum.s().on_error(self.tasks.errback_old_style.s()))
        self.counted(result.id)
        self.passes(0.3)
        self.counted(result.id)

    def test_the_message_of_an_errback(self):
        queue = self.key("queue")
        errback = signature_of("some.other.task").set(queue=queue)
        result, _ = self.chord_fails([self.tasks.fail.s(), self.tasks.add.s(1, 1)], self.tasks.tsum.s().on_error(errback))
        (headers, _, args, *_), = self.sent_to(queue)
        self.assertEqual((args, headers["parent_id"], headers["root_id"]), ([result.id], result.id, result.id))

    def test_errbacks_of_header_tasks(self):
        key = self.key()
        header = [self.tasks.fail.s().on_error(self.tasks.redis_count.si(key)) for _ in range(3)]
        self.chord_fails(header)
        self.counted(key, 3)

    def test_all_fail(self):
        result, error = self.chord_fails([self.tasks.fail.s(i) for i in range(4)])
        self.assertIn(last_id(str(error)), [member.id for member in result.parent.results])

    def test_a_chain_in_the_header_fails_at_its_start(self):
        result, error = self.chord_fails([chain(self.tasks.fail.s(), self.tasks.add.s(1)), self.tasks.add.s(1, 1)])
        self.assertIn("ExpectedException", str(error))

    def test_a_chain_in_the_header_fails_at_its_end(self):
        self.chord_fails([chain(self.tasks.add.s(1, 1), self.tasks.fail.s()), self.tasks.add.s(1, 1)])

    @reference_fails("W13: a task that is not known does not count", until=(9, 0))
    def test_a_task_that_nobody_knows(self):
        _, error = self.chord_fails([signature_of("t.integration.tasks.unheard_of"), self.tasks.add.s(1, 1)])
        self.assertIn("NotRegistered", str(error))

    @reference_fails("W19: the body of the inner chord is not reported to the outer one", until=(9, 0))
    def test_an_inner_chord_fails(self):
        inner = chord([self.tasks.fail.s(), self.tasks.add.s(1, 1)], self.tasks.tsum.s())
        self.chord_fails([inner, self.tasks.add.s(3, 3)])

    @reference_fails("W19: nothing is stored for a chain as body", until=(9, 0))
    def test_a_chain_as_body(self):
        elements = [fixed(self.tasks.tsum.s()), fixed(self.tasks.add.s(1))]
        chord([self.tasks.fail.s(), self.tasks.add.s(1, 1)])(chain(*elements))
        for element in elements:
            self.assertEqual(self.document(element.options["task_id"])["result"]["exc_type"], "ChordError")

    @reference_fails("a group as body is not handled")
    def test_a_group_as_body(self):
        members = [fixed(self.tasks.tsum.s()), fixed(self.tasks.identity.s())]
        chord([self.tasks.fail.s(), self.tasks.add.s(1, 1)])(group(*members))
        for member in members:
            self.assertEqual(self.document(member.options["task_id"])["result"]["exc_type"], "ChordError")

    def test_the_chain_after_it_fails_as_well(self):
        last = chain(self.tasks.add.s(1, 1), chord([self.tasks.fail.s(), self.tasks.add.s(2)], self.tasks.tsum.s())).apply_async()
        self.error_of(last)

    def test_in_a_group_the_others_go_on(self):
        failing = chord([self.tasks.fail.s(), self.tasks.add.s(1, 1)], self.tasks.tsum.s())
        result = group(failing, self.tasks.add.s(1, 2)).apply_async()
        self.assertEqual(self.document(result.results[1].id)["result"], 3)
        self.error_of(result.results[0])

    def test_a_hard_limit_in_the_header(self):
        _, error = self.chord_fails([self.tasks.sleeping.s(30).set(time_limit=1), self.tasks.add.s(1, 1)])
        self.assertIn("TimeLimitExceeded", str(error))

    def test_an_expired_task_in_the_header(self):
        header = [self.tasks.add.s(1, 1).set(countdown=0.4, expires=0.1), self.tasks.add.s(1, 1)]
        self.chord_fails(header)
