"""Chains, and what stands in them."""
import uuid

from celery import chain, chord, group

from conformance.rig import Case, fixed


class Order(Case):
    def test_two(self):
        self.gets(self.tasks.add.s(1, 2) | self.tasks.add.s(3), 6)

    def test_five(self):
        self.gets(chain(self.tasks.add.s("a", "b"), *(self.tasks.add.s(letter) for letter in "cdef")), "abcdef")

    def test_a_hundred(self):
        self.gets(chain(self.tasks.identity.s(0), *(self.tasks.add.s(1) for _ in range(99))), 99)

    def test_the_result_comes_before_own_arguments(self):
        self.gets(self.tasks.identity.s("a") | self.tasks.add.s("b", "c"), "abc")

    def test_immutable_drops_it(self):
        self.gets(self.tasks.add.s(1, 2) | self.tasks.add.si(10, 20) | self.tasks.add.s(5), 35)

    def test_keyword_arguments(self):
        self.gets(self.tasks.add.s(x=1, y=2) | self.tasks.add.s(y=3) | self.tasks.add.s(4, z=5), 15)

    def test_arguments_at_the_start(self):
        self.gets(self.tasks.add.s(10) | self.tasks.add.s(1), 13, 2)

    def test_every_result_is_stored(self):
        last = (self.tasks.add.s(1, 2) | self.tasks.add.s(3) | self.tasks.add.s(4)).apply_async()
        self.assertEqual(self.get(last), 10)
        self.assertEqual(self.get(last.parent), 6)
        self.assertEqual(self.get(last.parent.parent), 3)

    def test_children_lead_to_the_end(self):
        last = (self.tasks.add.s(1, 2) | self.tasks.add.s(3) | self.tasks.add.s(4)).apply_async()
        self.get(last)
        first = self.app.AsyncResult(last.parent.parent.id)
        self.assertEqual([value for _, value in first.collect()], [3, 6, 10])

    def test_ids_that_are_fixed(self):
        elements = [fixed(self.tasks.add.s(1, 2)), fixed(self.tasks.add.s(3)), fixed(self.tasks.add.s(4))]
        chain(*elements).apply_async()
        self.assertEqual([self.document(element.options["task_id"])["result"] for element in elements], [3, 6, 10])

    def test_a_chain_in_a_chain(self):
        self.gets(chain(self.tasks.add.s(1, 1), chain(self.tasks.add.s(2), self.tasks.add.s(3)), self.tasks.add.s(4)), 11)

    def test_a_callback_of_the_chain_follows_its_end(self):
        key = self.key()
        self.gets(self.tasks.add.s("a", "b") | self.tasks.add.s("c"), "abc", link=self.tasks.redis_echo.s(key))
        self.assertEqual(self.list_of(key, 1), ["abc"])

    def test_a_callback_of_an_element(self):
        key = self.key()
        self.gets(self.tasks.add.s("a", "b").set(link=self.tasks.redis_echo.s(key)) | self.tasks.add.s("c"), "abc")
        self.assertEqual(self.list_of(key, 1), ["ab"])

    def test_an_element_that_waits(self):
        self.gets(self.tasks.add.s(1, 2) | self.tasks.add.s(3).set(countdown=0.2) | self.tasks.add.s(4), 10)

    def test_an_element_that_is_retried(self):
        self.gets(self.tasks.add.s(1, 2) | self.tasks.retry_once_priority.s() | self.tasks.add.s(4), 4)

    def test_null_goes_on(self):
        self.gets(self.tasks.identity.s(None) | self.tasks.identity.s(), None)

    def test_a_nested_value_goes_on(self):
        value = {"a": [1, [2.5, None], {"b": True}], "é": "ü", "big": 10 ** 30}
        self.gets(chain(self.tasks.identity.s(value), *(self.tasks.identity.s() for _ in range(3))), value)

    def test_the_message_of_the_next(self):
        queue = self.key("queue")
        second, third = fixed(self.tasks.add.s(3)).set(queue=queue), fixed(self.tasks.add.s(4))
        last = chain(self.tasks.add.s(1, 2), second, third).apply_async()
        (headers, _, args, _, embed), = self.sent_to(queue)
        first = last.parent.parent.id
        self.assertEqual((headers["id"], headers["parent_id"], headers["root_id"], args),
                         (second.options["task_id"], first, first, [3, 3]))
        self.assertEqual([element["options"]["task_id"] for element in embed["chain"]], [third.options["task_id"]])

    def test_the_rest_stays_backwards(self):
        queue = self.key("queue")
        elements = [self.tasks.add.s(1, 2), self.tasks.add.s(3).set(queue=queue), *(self.tasks.add.s(i) for i in range(4))]
        chain(*elements).apply_async()
        embed = self.sent_to(queue)[0][4]
        self.assertEqual([element["args"] for element in embed["chain"]], [[3], [2], [1], [0]])

    def test_priorities_are_not_inherited(self):
        canvas = self.tasks.add.s(1, 2).set(priority=3) | self.tasks.return_priority.s().set(priority=5)
        self.gets(canvas, "Priority: 5")
        self.gets(self.tasks.add.s(1, 2).set(priority=3) | self.tasks.return_priority.s(), "Priority: 0")


class Ids(Case):
    """root_id and parent_id along a canvas."""

    def test_a_chain(self):
        last = (self.tasks.ids.si(i=1) | self.tasks.ids.si(i=2) | self.tasks.ids.si(i=3)).apply_async()
        self.get(last)
        second, first = last.parent, last.parent.parent
        self.assertEqual([self.get(result) for result in (first, second, last)],
                         [[first.id, None, 1], [first.id, first.id, 2], [first.id, second.id, 3]])

    def test_a_group_in_the_middle(self):
        last = chain(self.tasks.ids.si(i=1), group(self.tasks.ids.si(i=2), self.tasks.ids.si(i=3)),
                     self.tasks.collect_ids.s(i=4)).apply_async()
        members, (root, parent, number) = self.get(last)
        first = last.parent.parent.id
        self.assertEqual(members, [[first, first, 2], [first, first, 3]])
        self.assertEqual((root, number), (first, 4))
        self.assertIn(parent, [first, *(member.id for member in last.parent.results)])

    def test_a_group_at_the_end(self):
        last = (self.tasks.ids.si(i=1) | group(self.tasks.ids.si(i=i) for i in range(2, 6))).apply_async()
        first = last.parent.id
        self.assertEqual(self.get(last), [[first, first, i] for i in range(2, 6)])

    def test_a_chain_in_a_chain(self):
        last = chain(self.tasks.ids.si(i=1), chain(self.tasks.ids.si(i=2), self.tasks.ids.si(i=3))).apply_async()
        self.assertEqual(self.get(last), [last.parent.parent.id, last.parent.id, 3])

    def test_a_callback(self):
        link = fixed(self.tasks.collect_ids.s(i=2))
        result = self.gets(self.tasks.add.s(1, 2), 3, link=link)
        self.assertEqual(self.document(link.options["task_id"])["result"], [3, [result.id, result.id, 2]])

    def test_the_document_says_the_parent(self):
        last = (self.tasks.add.s(1, 2) | self.tasks.add.s(3)).apply_async()
        self.assertEqual(self.document(last.id)["parent_id"], last.parent.id)


class Groups(Case):
    def test_a_group_alone(self):
        self.gets(group(self.tasks.add.s(i, i) for i in range(5)), [0, 2, 4, 6, 8])

    def test_a_group_with_arguments_at_the_start(self):
        self.gets(group(self.tasks.add.s(i) for i in range(3)), [10, 11, 12], 10)

    def test_a_group_of_one(self):
        self.gets(group([self.tasks.add.s(1, 2)]), [3])

    def test_a_group_in_a_group(self):
        result = group(self.tasks.add.s(1, 1), group(self.tasks.add.s(2, 2), self.tasks.add.s(3, 3))).apply_async()
        self.assertEqual(sorted(map(str, flat(self.get(result)))), ["2", "4", "6"])

    def test_a_chain_in_a_group(self):
        self.gets(group(self.tasks.add.s(1, 1) | self.tasks.add.s(10), self.tasks.add.s(2, 2)), [12, 4])

    def test_a_group_at_the_end_of_a_chain(self):
        self.gets(self.tasks.add.s(1, 2) | group(self.tasks.add.s(10), self.tasks.add.s(20), self.tasks.identity.s()), [13, 23, 3])

    def test_its_members_are_children(self):
        last = (self.tasks.add.s(1, 2) | group(self.tasks.add.s(10), self.tasks.add.s(20))).apply_async()
        self.get(last)
        members = [member.id for member in last.results]
        self.assertEqual(self.stored(last.parent.id)["children"],
                         [[[last.id, None], [[[member, None], None] for member in members]]])

    def test_immutable_members(self):
        self.gets(self.tasks.add.s(1, 2) | group(self.tasks.add.si(10, 1), self.tasks.add.s(20)), [11, 23])

    def test_a_group_in_the_middle(self):
        self.gets(self.tasks.add.s(1, 2) | group(self.tasks.add.s(10), self.tasks.add.s(20)) | self.tasks.tsum.s(), 36)

    def test_the_chain_goes_on_after_it(self):
        canvas = chain(self.tasks.add.s(1, 2), group(self.tasks.add.s(10), self.tasks.add.s(20)), self.tasks.tsum.s(),
                       self.tasks.add.s(100), self.tasks.add.s(1000))
        self.gets(canvas, 1136)

    def test_a_group_at_the_start(self):
        self.gets(group(self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)) | self.tasks.tsum.s() | self.tasks.add.s(10), 16)

    def test_two_groups_after_one_another(self):
        canvas = chain(group(self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)), self.tasks.tsum.s(),
                       group(self.tasks.add.s(10), self.tasks.add.s(20)), self.tasks.tsum.s())
        self.gets(canvas, 42)

    def test_two_groups_side_by_side(self):
        canvas = group(self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)) | group(self.tasks.tsum.s(), self.tasks.identity.s())
        self.gets(canvas, [6, [2, 4]])

    def test_members_that_end_in_any_order_keep_theirs(self):
        members = [self.tasks.delayed_sum.s([i], pause_time=(5 - i) / 20) for i in range(6)]
        self.gets(group(members) | self.tasks.identity.s(), list(range(6)))

    def test_chains_in_a_group_in_the_middle(self):
        canvas = chain(self.tasks.add.s(1, 1), group(chain(self.tasks.add.s(1), self.tasks.add.s(2)), self.tasks.add.s(3)),
                       self.tasks.identity.s())
        self.gets(canvas, [5, 5])

    def test_a_group_that_is_saved(self):
        result = group(self.tasks.add.s(1, 1), self.tasks.add.s(2, 2)).apply_async()
        result.save()
        self.get(result)
        self.assertEqual(self.get(self.app.GroupResult.restore(result.id)), [2, 4])

    def test_one_of_its_members_fails(self):
        result = group(self.tasks.add.s(1, 1), self.tasks.fail.s(), self.tasks.add.s(2, 2)).apply_async()
        self.fails(result, self.tasks.ExpectedException)
        self.assertEqual((self.get(result.results[0]), self.get(result.results[2])), (2, 4))


def flat(value):
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, list) else [value]


class Failures(Case):
    """Who waits for the end of a chain hears of a failure anywhere in it."""

    def test_the_first_fails(self):
        last = (self.tasks.fail.s() | self.tasks.add.s(1) | self.tasks.add.s(2)).apply_async()
        self.fails(last, self.tasks.ExpectedException, "Task expected to fail")

    def test_one_in_the_middle_fails_with_its_argument(self):
        last = (self.tasks.add.s(1, 2) | self.tasks.fail.s() | self.tasks.add.s(2)).apply_async()
        self.fails(last, self.tasks.ExpectedException, "Task expected to fail", 3)
        self.assertEqual(self.get(last.parent.parent), 3)

    def test_the_last_fails(self):
        last = (self.tasks.add.s(1, 2) | self.tasks.fail.s()).apply_async()
        self.fails(last, self.tasks.ExpectedException, "Task expected to fail", 3)

    def test_every_later_id_has_the_failure(self):
        elements = [fixed(signature) for signature in (self.tasks.raise_error.s(), self.tasks.add.s(1), self.tasks.add.s(2))]
        chain(*elements).apply_async()
        documents = [self.document(element.options["task_id"], "FAILURE") for element in elements]
        for document in documents:
            self.assertEqual(document["result"], documents[0]["result"])
            self.assertEqual(document["traceback"], documents[0]["traceback"])
        self.assertEqual([document["task_id"] for document in documents], [element.options["task_id"] for element in elements])

    def test_later_tasks_do_not_run(self):
        key, error = self.key(), self.key()
        last = chain(self.tasks.fail.s(), self.tasks.redis_count.si(key)).apply_async(link_error=self.tasks.redis_count.si(error))
        self.document(last.id, "FAILURE")
        self.counted(error)
        self.assertIsNone(self.redis.get(key))

    def test_errbacks_of_the_chain_are_called_once(self):
        key = self.key()
        last = chain(self.tasks.add.s(1, 2), self.tasks.fail.s(), self.tasks.add.s(1)).apply_async(
            link_error=self.tasks.redis_count.si(key))
        self.document(last.id, "FAILURE")
        self.counted(key)
        self.passes(0.2)
        self.counted(key)

    def test_errbacks_get_the_id_of_the_task_that_failed(self):
        last = (self.tasks.add.s(1, 2) | self.tasks.fail.s() | self.tasks.add.s(2)).apply_async(
            link_error=self.tasks.errback_old_style.s())
        self.document(last.id, "FAILURE")
        self.counted(last.parent.id)

    def test_errbacks_of_the_new_style(self):
        last = (self.tasks.add.s(1, 2) | self.tasks.fail.s() | self.tasks.add.s(2)).apply_async(
            link_error=self.tasks.errback_new_style.s())
        self.document(last.id, "FAILURE")
        self.counted(last.parent.id)

    def test_before_a_group_and_its_body(self):
        last = chain(self.tasks.fail.s(), group(self.tasks.add.s(1), self.tasks.add.s(2)), self.tasks.tsum.s()).apply_async()
        self.fails(last, self.tasks.ExpectedException)

    def test_unknown_in_a_chain(self):
        missing = self.app.signature("t.integration.tasks.unheard_of")
        last = chain(self.tasks.add.s(1, 2), missing).apply_async()
        self.assertEqual(self.document(last.id, "FAILURE")["result"]["exc_type"], "NotRegistered")

    def test_a_chain_in_a_chain(self):
        last = chain(self.tasks.add.s(1, 1), chain(self.tasks.fail.s(), self.tasks.add.s(3)), self.tasks.add.s(4)).apply_async()
        self.fails(last, self.tasks.ExpectedException, "Task expected to fail", 2)
