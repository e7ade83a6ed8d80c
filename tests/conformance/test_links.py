"""Callbacks and errbacks of single tasks. What is sent to a queue without a worker can be read there."""
import uuid

from celery import chain, chord, group

from conformance.rig import Case, fixed, signature_of


class Callbacks(Case):
    """Sent with the result before their own arguments."""

    def test_it_runs_with_the_result(self):
        key = self.key()
        self.gets(self.tasks.add.s("a", "b"), "ab", link=self.tasks.redis_echo.s(key))
        self.assertEqual(self.list_of(key, 1), ["ab"])

    def test_immutable(self):
        key = self.key()
        self.gets(self.tasks.add.s(1, 2), 3, link=self.tasks.redis_echo.si("fixed", key))
        self.assertEqual(self.list_of(key, 1), ["fixed"])

    def test_several(self):
        key = self.key()
        links = [self.tasks.redis_echo.si(text, key) for text in ("one", "two", "three")]
        self.gets(self.tasks.add.s(1, 2), 3, link=links)
        self.assertEqual(sorted(self.list_of(key, 3)), ["one", "three", "two"])

    def test_its_result_is_stored_under_the_id_that_was_fixed(self):
        link = fixed(self.tasks.add.s(10))
        self.gets(self.tasks.add.s(1, 2), 3, link=link)
        self.assertEqual(self.document(link.options["task_id"])["result"], 13)

    def test_a_callback_of_a_callback(self):
        key = self.key()
        inner = self.tasks.redis_echo.s(key)
        self.gets(self.tasks.add.s("a", "b"), "ab", link=self.tasks.add.s("c").set(link=inner))
        self.assertEqual(self.list_of(key, 1), ["abc"])

    def test_keyword_arguments_are_kept(self):
        key = self.key()
        self.gets(self.tasks.add.s("a", "b"), "ab", link=self.tasks.redis_echo.s(redis_key=key))
        self.assertEqual(self.list_of(key, 1), ["ab"])

    def test_a_chain_as_callback(self):
        key = self.key()
        self.gets(self.tasks.add.s("a", "b"), "ab",
                  link=chain(self.tasks.add.s("c"), self.tasks.add.s("d"), self.tasks.redis_echo.s(key)))
        self.assertEqual(self.list_of(key, 1), ["abcd"])

    def test_a_group_as_callback(self):
        key = self.key()
        self.gets(self.tasks.identity.s("a"), "a", link=group(self.tasks.redis_echo.s(key), self.tasks.redis_echo.si("b", key)))
        self.assertEqual(sorted(self.list_of(key, 2)), ["a", "b"])

    def test_a_chord_as_callback(self):
        key = self.key()
        body = self.tasks.tsum.s() | self.tasks.redis_echo.s(key)
        self.gets(self.tasks.identity.s(1), 1, link=chord([self.tasks.add.s(1), self.tasks.add.s(2)], body))
        self.assertEqual(self.list_of(key, 1), ["5"])

    def test_the_message(self):
        queue, link = self.key("queue"), fixed(self.tasks.add.s(10, z=5))
        result = self.gets(self.tasks.add.s(1, 2), 3, link=link.set(queue=queue))
        (headers, properties, args, kwargs, _), = self.sent_to(queue)
        self.assertEqual((headers["task"], headers["id"], args, kwargs),
                         ("t.integration.tasks.add", link.options["task_id"], [3, 10], {"z": 5}))
        self.assertEqual((headers["parent_id"], headers["root_id"], headers["retries"]), (result.id, result.id, 0))
        self.assertEqual(properties["delivery_info"], {"exchange": "", "routing_key": queue})
        self.assertEqual(properties["correlation_id"], headers["id"])

    def test_its_own_options_hold(self):
        queue = self.key("queue")
        link = self.tasks.add.s(10).set(queue=queue, priority=2, expires=600, soft_time_limit=7, time_limit=9, shadow="the shadow")
        self.gets(self.tasks.add.s(1, 2), 3, link=link)
        (headers, properties, *_), = self.sent_to(queue)
        self.assertEqual((properties["priority"], headers["timelimit"], headers["shadow"]), (2, [9, 7], "the shadow"))
        self.assertTrue(headers["expires"])

    def test_a_countdown_becomes_an_eta(self):
        queue = self.key("queue")
        self.gets(self.tasks.add.s(1, 2), 3, link=self.tasks.add.s(10).set(queue=queue, countdown=600))
        (headers, *_), = self.sent_to(queue)
        self.assertTrue(headers["eta"].endswith("+00:00"), headers["eta"])

    def test_unknown_options_do_not_disturb(self):
        queue = self.key("queue")
        self.gets(self.tasks.add.s(1, 2), 3, link=self.tasks.add.s(10).set(queue=queue, tomorrow_s_option=[1]))
        self.assertEqual(self.sent_to(queue)[0][2], [3, 10])

    def test_children_list_what_was_sent(self):
        link = fixed(self.tasks.add.s(10))
        result = self.gets(self.tasks.add.s(1, 2), 3, link=link)
        self.assertEqual(self.stored(result.id)["children"], [[[link.options["task_id"], None], None]])
        self.assertEqual(self.get(result.children[0]), 13)

    def test_not_called_at_a_failure(self):
        key, error = self.key(), self.key()
        result = self.tasks.fail.apply_async(link=self.tasks.redis_count.si(key), link_error=self.tasks.redis_count.si(error))
        self.document(result.id, "FAILURE")
        self.counted(error)
        self.assertIsNone(self.redis.get(key))

    def test_a_task_that_this_worker_does_not_know(self):
        queue = self.key("queue")
        self.gets(self.tasks.add.s(1, 2), 3, link=signature_of("some.other.task", "x").set(queue=queue))
        (headers, _, args, *_), = self.sent_to(queue)
        self.assertEqual((headers["task"], args), ("some.other.task", [3, "x"]))

    def test_a_large_result_goes_on(self):
        link = fixed(self.tasks.identity.s())
        text = "x" * 300000
        self.gets(self.tasks.identity.s(text), text, link=link)
        self.assertEqual(self.document(link.options["task_id"])["result"], text)


class Errbacks(Case):
    """Sent with the id of the task that failed, or called in place when they take more than one parameter."""

    def test_old_style(self):
        result = self.tasks.fail.apply_async(link_error=self.tasks.errback_old_style.s())
        self.counted(result.id)

    def test_old_style_is_a_task_of_its_own(self):
        errback = fixed(self.tasks.errback_old_style.s())
        result = self.tasks.fail.apply_async(link_error=errback)
        document = self.document(errback.options["task_id"])
        self.assertEqual((document["result"], document["parent_id"]), (result.id, result.id))

    def test_new_style_is_called_at_once(self):
        errback = fixed(self.tasks.errback_new_style.s())
        result = self.tasks.fail.apply_async(link_error=errback)
        self.counted(result.id)
        self.passes(0.1)
        self.assertIsNone(self.stored(errback.options["task_id"]))

    def test_both(self):
        result = self.tasks.fail.apply_async(link_error=[self.tasks.errback_old_style.s(), self.tasks.errback_new_style.s()])
        self.counted(result.id, 2)

    def test_return_exception(self):
        errback = fixed(self.tasks.return_exception.s())
        result = self.tasks.raise_error.apply_async(link_error=errback)
        self.assertEqual(self.document(errback.options["task_id"])["result"], [result.id, True])

    def test_own_arguments_follow_the_id(self):
        queue = self.key("queue")
        result = self.tasks.fail.apply_async(link_error=signature_of("some.other.task", "own", x=1).set(queue=queue))
        (_, _, args, kwargs, _), = self.sent_to(queue)
        self.assertEqual((args, kwargs), ([result.id, "own"], {"x": 1}))

    def test_immutable_and_called_in_place(self):
        """redis_echo has two parameters: it is called, and as it is immutable with its own arguments alone."""
        key = self.key()
        errback = fixed(self.tasks.redis_echo.si("failed", key))
        self.tasks.fail.apply_async(link_error=errback)
        self.assertEqual(self.list_of(key, 1), ["failed"])
        self.passes(0.1)
        self.assertIsNone(self.stored(errback.options["task_id"]))

    def test_immutable_and_sent(self):
        key = self.key()
        errback = fixed(self.tasks.redis_count.si(key))
        self.tasks.fail.apply_async(link_error=errback)
        self.document(errback.options["task_id"], "SUCCESS")
        self.counted(key)

    def test_the_message(self):
        queue = self.key("queue")
        root = str(uuid.uuid4())
        result = self.tasks.fail.apply_async(link_error=self.tasks.errback_old_style.s().set(queue=queue), root_id=root)
        (headers, _, args, kwargs, _), = self.sent_to(queue)
        self.assertEqual((headers["task"], args, kwargs), ("t.integration.tasks.errback_old_style", [result.id], {}))
        self.assertEqual((headers["parent_id"], headers["root_id"]), (result.id, root))

    def test_a_task_that_this_worker_does_not_know(self):
        queue = self.key("queue")
        result = self.tasks.fail.apply_async(link_error=signature_of("some.other.task").set(queue=queue))
        (headers, _, args, *_), = self.sent_to(queue)
        self.assertEqual((headers["task"], args), ("some.other.task", [result.id]))

    def test_bound_tasks_are_sent(self):
        queue = self.key("queue")
        result = self.tasks.fail.apply_async(link_error=self.tasks.retry_once.s(countdown=None).set(queue=queue))
        (headers, _, args, kwargs, _), = self.sent_to(queue)
        self.assertEqual((headers["task"], args, kwargs), ("t.integration.tasks.retry_once", [result.id], {"countdown": None}))

    def test_a_bound_errback_may_retry(self):
        errback = fixed(self.tasks.retry_once_priority.s(countdown=None))
        self.tasks.fail.apply_async(link_error=errback)
        self.document(errback.options["task_id"], "RETRY")

    def test_the_document_is_there_when_it_is_called(self):
        errback = fixed(self.tasks.errback_old_style.s())
        result = self.tasks.fail.apply_async(link_error=errback)
        self.document(errback.options["task_id"])
        self.assertEqual(self.stored(result.id)["status"], "FAILURE")

    def test_not_called_at_a_success(self):
        key, done = self.key(), self.key()
        self.gets(self.tasks.add.s(1, 2), 3, link_error=self.tasks.redis_count.si(key), link=self.tasks.redis_count.si(done))
        self.counted(done)
        self.assertIsNone(self.redis.get(key))

    def test_called_for_a_type_error_of_the_arguments(self):
        result = self.tasks.add_not_typed.apply_async((5,), link_error=self.tasks.errback_old_style.s())
        self.counted(result.id)

    def test_called_at_a_hard_limit(self):
        result = self.tasks.sleeping.apply_async((30,), time_limit=1, link_error=self.tasks.errback_old_style.s())
        self.counted(result.id)

    def test_new_style_at_a_hard_limit(self):
        result = self.tasks.sleeping.apply_async((30,), time_limit=1, link_error=self.tasks.errback_new_style.s())
        self.counted(result.id)
