"""Retries. Those that take fifteen seconds are all sent at the beginning and wait beside one another."""
from conformance.rig import Case, needs, reference_fails


class Once(Case):
    """Retried once, after a tenth of a second."""

    @reference_fails("W14: a task with an expiry cannot be retried")
    def test_with_an_expiry(self):
        self.gets(self.tasks.retry_once.s(), 1)

    @reference_fails("W14: a task with an expiry cannot be retried")
    def test_the_expiry_goes_on_as_it_came(self):
        id = self.key("id")
        self.tasks.retry_once.apply_async(task_id=id, kwargs={"countdown": 0.5}, expires=600)
        self.document(id, "RETRY")
        self.assertEqual(self.document(id)["result"], 1)

    @reference_fails("W14: a task with an expiry cannot be retried")
    def test_an_expiry_that_passes_before(self):
        result = self.tasks.retry_once.apply_async(kwargs={"countdown": 1}, expires=0.6)
        self.assertEqual(self.document(result.id)["status"], "REVOKED")

    @needs("5.6")
    def test_an_expiry_that_the_task_gives(self):
        self.gets(self.tasks.retry_once.s(expires=60), 1)

    def test_the_priority_stays(self):
        self.gets(self.tasks.retry_once_priority.s(), 7, priority=7)

    @reference_fails("headers of the caller are dropped")
    def test_headers_stay(self):
        headers = self.get(self.tasks.retry_once_headers.apply_async(headers={"x-test-header": "test-value"}))
        self.assertEqual(headers["x-test-header"], "test-value")

    @reference_fails("headers of the caller are dropped")
    def test_stamps_stay(self):
        headers = self.get(self.tasks.retry_once_headers.apply_async(
            headers={"stamped_headers": ["stamp"], "stamps": {"stamp": ["value"]}}))
        self.assertEqual((headers["stamped_headers"], headers["stamps"]), (["stamp"], {"stamp": ["value"]}))

    def test_by_itself(self):
        self.gets(self.tasks.auto_retry_class_task.s(), 1)

    def test_the_state_between(self):
        result = self.tasks.retry_once_priority.apply_async(kwargs={"countdown": 1})
        document = self.document(result.id, "RETRY")
        self.assertEqual(document["children"], [[[result.id, None], None]])
        self.assertIsNone(document["date_done"])
        self.assertEqual(self.get(result), 0)

    def test_callbacks_follow_its_end(self):
        key = self.key()
        self.gets(self.tasks.retry_once_priority.s(), 0, link=self.tasks.redis_count.si(key))
        self.counted(key)

    def test_root_parent_and_group_stay(self):
        result = self.tasks.retry_once_priority.apply_async(root_id="the-root", parent_id="the-parent", group_id="the-group")
        document = self.document(result.id, "SUCCESS")
        self.assertEqual((document["parent_id"], document["group_id"]), ("the-parent", "the-group"))

    def test_in_another_queue(self):
        """The retry goes back to the queue from which it came; here that is the usual one."""
        last = (self.tasks.retry_once_priority.s() | self.tasks.retry_once_priority.s()).apply_async()
        self.assertEqual(self.get(last), 0)

    def test_no_retry_is_left(self):
        result = self.tasks.retry_once_priority.apply_async(kwargs={"max_retries": 0})
        self.assertEqual(self.document(result.id)["result"]["exc_type"], "MaxRetriesExceededError")

    def test_its_default_delay(self):
        result = self.tasks.retry_once_priority.apply_async(kwargs={"countdown": None})
        self.document(result.id, "RETRY")
        self.passes(0.5)
        self.assertEqual(result.state, "RETRY")

    def test_unpickleable(self):
        result = self.tasks.retry_unpickleable.delay("foo", "bar", retry_kwargs={"countdown": 10, "max_retries": 1})
        document = self.document(result.id, "RETRY", seconds=5)
        self.assertEqual(document["result"], {"exc_type": "UnpickleableException", "exc_message": ["foo"],
                                              "exc_module": "t.integration.tasks"})
        self.assertIn("UnpickleableException", repr(result.result))
        self.assertIn("foo", repr(result.result))
        result.revoke()


class Thrice(Case):
    """The task `retry`: three times, five seconds apart."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        retry, count = cls.tasks.retry, cls.tasks.redis_count
        cls.keys = {name: cls.key(cls, name) for name in ("failed", "succeeded")}
        cls.fails_in_the_end = retry.apply_async(link_error=[count.si(cls.keys["failed"]), cls.tasks.errback_old_style.s()])
        cls.returns = retry.apply_async(("the value",), link=count.si(cls.keys["succeeded"]))
        cls.in_a_chain = (cls.tasks.retry.s("a") | cls.tasks.add.s("b")).apply_async()

    @classmethod
    def tearDownClass(cls):
        del cls.fails_in_the_end, cls.returns, cls.in_a_chain
        super().tearDownClass()

    def test_1_the_state_while_it_waits(self):
        for result in (self.fails_in_the_end, self.returns):
            document = self.document(result.id, "RETRY", seconds=5)
            self.assertEqual(document["result"], {"exc_type": "ExpectedException", "exc_message": [],
                                                  "exc_module": "t.integration.tasks"})
            self.assertIsInstance(result.result, self.tasks.ExpectedException)

    def test_2_no_errback_while_it_waits(self):
        self.assertEqual(self.fails_in_the_end.state, "RETRY")
        self.assertIsNone(self.redis.get(self.keys["failed"]))

    def test_3_returns_its_value(self):
        self.assertEqual(self.get(self.returns, 40), "the value")
        self.counted(self.keys["succeeded"])

    def test_4_the_exception_is_the_failure(self):
        self.fails(self.fails_in_the_end, self.tasks.ExpectedException, seconds=40)
        self.failure(self.fails_in_the_end.id, "ExpectedException", module="t.integration.tasks")
        self.counted(self.keys["failed"])
        self.counted(self.fails_in_the_end.id)

    def test_5_the_chain_goes_on(self):
        self.assertEqual(self.get(self.in_a_chain, 40), "ab")
