"""Tasks that change their own workflow: replace, add to chord, start a canvas."""
from celery import chain, chord, group
from celery.exceptions import ImproperlyConfigured

from conformance.rig import Case, needs, reference_fails, wait_until


class Replace(Case):
    """Another signature takes over the task's id, its group, callbacks, errbacks and the rest of its chain."""

    def test_by_a_task(self):
        self.gets(self.tasks.add_replaced.s(1, 2), 3)

    def test_the_id_stays(self):
        result = self.gets(self.tasks.add_replaced.s(1, 2), 3)
        self.assertEqual(self.stored(result.id)["task_id"], result.id)

    def test_in_a_chain(self):
        self.gets(self.tasks.add_replaced.s(1, 2) | self.tasks.add.s(4), 7)
        self.gets(self.tasks.add.s(1, 1) | self.tasks.add_replaced.s(2) | self.tasks.add.s(3), 7)

    def test_callbacks_are_kept(self):
        key = self.key()
        self.gets(self.tasks.add_replaced.s("a", "b"), "ab", link=self.tasks.redis_echo.s(key))
        self.assertEqual(self.list_of(key, 1), ["ab"])

    def test_in_a_group(self):
        self.gets(group(self.tasks.add_replaced.s(1, 2), self.tasks.add.s(3, 4)), [3, 7])

    def test_in_a_chord(self):
        header = [self.tasks.add_replaced.s(i, 1) for i in range(4)]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), [1, 2, 3, 4])

    def test_as_body_of_a_chord(self):
        self.assertEqual(self.get(chord([self.tasks.identity.s(1), self.tasks.identity.s(2)])(self.tasks.add_replaced.s([3]))), [1, 2, 3])

    def test_by_a_task_that_fails(self):
        result = self.tasks.fail_replaced.delay("x", 1)
        self.fails(result, self.tasks.ExpectedException, "Task expected to fail", "x", 1)

    def test_errbacks_are_kept(self):
        result = self.tasks.fail_replaced.apply_async(link_error=self.tasks.errback_old_style.s())
        self.counted(result.id)
        result = self.tasks.fail_replaced.apply_async(link_error=self.tasks.errback_new_style.s())
        self.counted(result.id)

    def test_a_failure_in_a_chain(self):
        last = (self.tasks.fail_replaced.s() | self.tasks.add.s(1)).apply_async()
        self.fails(last, self.tasks.ExpectedException)

    def test_a_failure_in_a_chord(self):
        result = chord([self.tasks.fail_replaced.s("x"), self.tasks.add.s(1, 1)])(self.tasks.tsum.s())
        self.assertEqual(self.document(result.id)["result"]["exc_type"], "ChordError")

    def test_by_nothing(self):
        result = self.tasks.replace_with_empty_chain.delay(1, 2)
        self.fails(result, ImproperlyConfigured, "Cannot replace with an empty chain")
        self.failure(result.id, "ImproperlyConfigured", "Cannot replace with an empty chain", module="celery.exceptions")

    def test_twice_over(self):
        self.redis.delete("redis-echo")
        self.get(self.tasks.second_order_replace1.delay())
        self.assertEqual(self.list_of("redis-echo", 5), ["In A", "In B", "In/Out C", "Out B", "Out A"])


class ByAChain(Case):
    """redis_echo is the chain's own callback, or errback. Celery sends some callbacks twice."""

    def echoed(self, *texts):
        wait_until(lambda: set(texts) <= set(self.redis.lrange("redis-echo", 0, -1)), 20,
                   f"{texts} in {self.redis.lrange('redis-echo', 0, -1)}")

    def setUp(self):
        self.inner, self.outer = self.key("inner"), self.key("outer")

    def test_its_end_has_the_id(self):
        self.gets(self.tasks.replace_with_chain.s("a"), "a")

    def test_its_callback_gets_its_result(self):
        self.gets(self.tasks.replace_with_chain.s(self.inner), self.inner)
        self.echoed(self.inner)

    def test_its_callback_has_a_message_of_its_own(self):
        self.gets(self.tasks.replace_with_chain.s("a", link_msg=self.inner), "a")
        self.echoed(self.inner)

    def test_both_callbacks(self):
        self.gets(self.tasks.replace_with_chain.s("a", link_msg=self.inner), "a", link=self.tasks.redis_echo.si(self.outer))
        self.echoed(self.inner, self.outer)

    @reference_fails("callbacks of a chain that replaces are sent twice", until=(9, 0))
    def test_each_callback_once(self):
        self.gets(self.tasks.replace_with_chain.s("a", link_msg=self.inner), "a", link=self.tasks.redis_echo.si(self.outer))
        self.echoed(self.inner, self.outer)
        self.passes(0.2)
        texts = self.redis.lrange("redis-echo", 0, -1)
        self.assertEqual((texts.count(self.inner), texts.count(self.outer)), (1, 1))

    def test_in_a_chain(self):
        self.gets(chain(self.tasks.identity.s("a"), self.tasks.replace_with_chain.s(link_msg=self.inner), self.tasks.add.s("b")), "ab")
        self.echoed(self.inner)

    def test_in_a_chain_with_a_callback(self):
        self.gets(chain(self.tasks.identity.s("a"), self.tasks.replace_with_chain.s(link_msg=self.inner)), "a",
                  link=self.tasks.redis_echo.si(self.outer))
        self.echoed(self.inner, self.outer)

    def test_in_a_chord(self):
        header = [self.tasks.replace_with_chain.s(text, link_msg=self.inner) for text in "ab"]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), ["a", "b"])

    def test_one_that_raises(self):
        result = self.tasks.replace_with_chain_which_raises.delay("a", link_msg=self.inner)
        self.fails(result, ValueError, "deliberate error")

    def test_its_errback(self):
        result = self.tasks.replace_with_chain_which_raises.delay("a", link_msg=self.inner)
        self.fails(result, ValueError)
        self.echoed(self.inner)

    def test_both_errbacks(self):
        result = self.tasks.replace_with_chain_which_raises.apply_async(
            ("a",), {"link_msg": self.inner}, link_error=self.tasks.redis_echo.si(self.outer))
        self.fails(result, ValueError)
        self.echoed(self.inner, self.outer)

    def test_one_that_raises_in_a_chain(self):
        last = chain(self.tasks.identity.s("a"), self.tasks.replace_with_chain_which_raises.s(link_msg=self.inner),
                     self.tasks.add.s("b")).apply_async()
        self.fails(last, ValueError)
        self.echoed(self.inner)


class ByAGroup(Case):
    """Replaced by a group: the results are a list, in the order of the group."""

    def test_alone(self):
        self.gets(self.tasks.add_to_all.s([4, 6], 10), [14, 16])

    def test_of_texts_and_lists(self):
        self.gets(self.tasks.add_to_all.s(["a", "b"], "c"), ["ac", "bc"])
        self.gets(self.tasks.add_to_all.s([[1], [2]], [3]), [[1, 3], [2, 3]])

    def test_many(self):
        self.gets(self.tasks.add_to_all.s(list(range(60)), 1), list(range(1, 61)))

    def test_of_one(self):
        self.gets(self.tasks.add_to_all.s([1], 2), [3])

    def test_of_nothing(self):
        self.gets(self.tasks.add_to_all.s([], 1), [])

    def test_in_a_chain(self):
        self.gets(chain(self.tasks.add.s(4, 4), group(self.tasks.add.s(1), self.tasks.add.s(2)),
                        self.tasks.add_to_all.s(100), self.tasks.tsum.s()), 219)

    def test_twice_in_a_chain(self):
        self.gets(chain(self.tasks.identity.s([1, 2]), self.tasks.add_to_all.s(10), self.tasks.add_to_all.s(100)), [111, 112])

    def test_in_a_chord(self):
        header = [self.tasks.add_to_all.s([1, 2], 10), self.tasks.add_to_all.s([3], 10)]
        self.assertEqual(self.get(chord(header)(self.tasks.identity.s())), [[11, 12], [13]])

    def test_with_callbacks(self):
        key = self.key()
        self.gets(self.tasks.add_to_all.s([1, 2], 10), [11, 12], link=self.tasks.redis_count.si(key))
        self.counted(key)

    def test_a_member_fails(self):
        result = self.tasks.add_to_all.delay([1, "a"], 2)
        self.assertEqual(self.document(result.id)["result"]["exc_type"], "ChordError")

    @needs("5.6")
    def test_keyword_arguments_go_to_the_first(self):
        self.gets(chain(self.tasks.add.s(1, 1), self.tasks.identity.s()), 3, kwargs={"z": 1})


class AddToChord(Case):
    """A header task makes its chord longer while it runs."""

    def test_tasks(self):
        result = chord([self.tasks.add_to_all_to_chord.s([1, 2, 4], 3)])(self.tasks.identity.s())
        self.assertEqual(sorted(self.get(result)), [0, 4, 5, 7])

    def test_beside_others(self):
        header = group(self.tasks.add.s(10, 10), self.tasks.add_to_all_to_chord.s([1, 2, 4], 4))
        self.assertEqual(sorted(self.get(chord(header)(self.tasks.identity.s()))), [0, 5, 6, 8, 20])

    def test_in_a_chain(self):
        canvas = chain(group(self.tasks.add_to_all_to_chord.s([1, 2, 4], 4), self.tasks.identity.s(9)), self.tasks.identity.s())
        self.assertEqual(sorted(self.get(canvas.apply_async())), [0, 5, 6, 8, 9])

    def test_a_chord(self):
        header = group([self.tasks.add_chord_to_chord.s([1, 2, 3], 4)])
        self.assertEqual(sorted(self.get(chord(header)(self.tasks.identity.s()))), [0, 5 + 6 + 7])

    def test_nothing(self):
        self.assertEqual(self.get(chord([self.tasks.add_to_all_to_chord.s([], 1)])(self.tasks.identity.s())), [0])

    def test_its_keys_are_deleted(self):
        result = chord([self.tasks.add_to_all_to_chord.s([1, 2], 3)])(self.tasks.identity.s())
        self.get(result)
        group_id = "celery-taskset-meta-" + result.parent.id
        self.gone(group_id + ".j", group_id + ".t", group_id + ".s")

    def test_outside_of_a_chord(self):
        self.fails(self.tasks.add_to_all_to_chord.delay([1], 2), ValueError)

    def test_several_do(self):
        header = [self.tasks.add_to_all_to_chord.s([i, i], 1) for i in (1, 2, 3)]
        self.assertEqual(sorted(self.get(chord(header)(self.tasks.identity.s()))), [0, 0, 0, 2, 2, 3, 3, 4, 4])


class Start(Case):
    """A task that starts a canvas and returns its handle."""

    def test_the_handle(self):
        handle = self.get(self.tasks.build_chain_inside_task.delay())
        self.assertEqual(len(handle), 2)
        self.assertEqual(len(handle[0]), 2)
        self.assertIsInstance(handle[0][1], list)

    def test_the_handle_leads_to_the_results(self):
        (last, ((_, before), members)), nothing = self.get(self.tasks.build_chain_inside_task.delay())
        self.assertIsNone(nothing)
        self.assertEqual(self.document(before[0][0])["result"], 4)
        self.assertEqual([self.document(member)["result"] for (member, _), _ in members], [7, 8])
        self.document(last)

    def test_the_canvas_runs(self):
        """add(5) gets the list of the group's results: it fails, as a list and a number have no sum."""
        handle = self.get(self.tasks.build_chain_inside_task.delay())
        document = self.document(handle[0][0], "FAILURE")
        self.assertEqual(document["result"]["exc_type"], "TypeError")

    def test_its_tasks_are_children(self):
        result = self.tasks.build_chain_inside_task.delay()
        self.get(result)
        self.assertEqual(len(self.stored(result.id)["children"]), 1)
