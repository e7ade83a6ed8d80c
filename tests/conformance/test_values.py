"""Plain tasks: what they return for what they are given."""
import os

from conformance.rig import Case, signature_of, temporary_folder


class Identity(Case):
    """Every JSON value comes back as it was sent, by position and by name."""

    def comes_back(self, value):
        self.assertEqual(self.get(self.tasks.identity.delay(value)), value)
        returned = self.get(self.tasks.identity.delay(x=value))
        self.assertEqual(returned, value)
        self.assertIs(type(returned), type(value))

    def test_null(self):
        self.comes_back(None)

    def test_booleans(self):
        self.comes_back(True)
        self.comes_back(False)

    def test_integers(self):
        for value in (0, -1, 2 ** 31, 2 ** 63 - 1, -2 ** 63):
            self.comes_back(value)

    def test_integers_beyond_64_bits(self):
        self.comes_back(2 ** 64)
        self.comes_back(-10 ** 40)

    def test_floats(self):
        for value in (0.1, 1.0, -2.5e300, 5e-324):
            self.comes_back(value)

    def test_text(self):
        for value in ("", "plain", "håå®ƒ 🌱 \"quoted\" \\ \n\t", "\x00"):
            self.comes_back(value)

    def test_lists(self):
        self.comes_back([])
        self.comes_back([1, "two", [3.5, [None, [True]]], {}])

    def test_objects(self):
        self.comes_back({})
        self.comes_back({"a": {"b": [1, {"c": None}]}, "é": "ü", "": 0})

    def test_a_large_text(self):
        self.comes_back("x" * 1000000)

    def test_a_large_list(self):
        self.comes_back(list(range(20000)))


class Add(Case):
    def adds(self, expected, *args, **kwargs):
        returned = self.get(self.tasks.add.delay(*args, **kwargs))
        self.assertEqual(returned, expected)
        self.assertIs(type(returned), type(expected))

    def test_integers_stay_integers(self):
        self.adds(3, 1, 2)
        self.adds(-4611686018427387905, -2 ** 62, -1)

    def test_a_float_makes_a_float(self):
        self.adds(3.5, 1, 2.5)
        self.adds(3.0, 1.5, 1.5)

    def test_texts_are_joined(self):
        self.adds("håå®ƒ", "hå", "å®ƒ")
        self.adds("a", "a", "")

    def test_lists_are_joined(self):
        self.adds([3, 7, 5], [3, 7], [5])
        self.adds([], [], [])

    def test_lists_of_lists_and_texts_are_joined(self):
        self.adds([[1], "a", [2, ["b"]]], [[1], "a"], [[2, ["b"]]])

    def test_by_name(self):
        self.adds(3, x=1, y=2)
        self.adds(3, 1, y=2)
        self.adds(6, 1, y=2, z=3)

    def test_a_third_is_added(self):
        self.adds(6, 1, 2, 3)
        self.adds("abc", "a", "b", "c")
        self.adds([1, 2, 3], [1], [2], z=[3])

    def test_a_third_that_is_nothing(self):
        for nothing in (None, 0, "", [], {}, False):
            self.adds(3, 1, 2, nothing)

    def test_other_types_are_a_type_error(self):
        for pair in ((1, "a"), ("a", 1), ([1], 1), (None, 1), ({}, {}), ([1], "a")):
            with self.subTest(pair=pair):
                self.fails(self.tasks.add.delay(*pair), TypeError)

    def test_a_third_of_another_type(self):
        self.fails(self.tasks.add.delay(1, 2, "a"), TypeError)


class NotTyped(Case):
    """Arguments that the client does not check."""

    def test_right_arguments(self):
        self.assertEqual(self.get(self.tasks.add_not_typed.delay(1, 2)), 3)
        self.assertEqual(self.get(self.tasks.add_not_typed.delay(x="a", y="b")), "ab")

    def test_a_missing_argument(self):
        error = self.fails(self.tasks.add_not_typed.delay(5), TypeError)
        self.assertIn("add_not_typed() missing 1 required positional argument: 'y'", str(error))

    def test_a_wrong_argument(self):
        error = self.fails(self.tasks.add_not_typed.delay(5, wrong_arg=5), TypeError)
        self.assertIn("add_not_typed() got an unexpected keyword argument 'wrong_arg'", str(error))

    def test_too_many_arguments(self):
        self.fails(self.tasks.add_not_typed.delay(1, 2, 3), TypeError)

    def test_an_argument_given_twice(self):
        self.fails(self.tasks.add_not_typed.delay(1, 2, x=3), TypeError)


class Sums(Case):
    def test_mul(self):
        self.gets(self.tasks.mul.s(6, 7), 42)
        self.gets(self.tasks.mul.s(x=1.5, y=2), 3.0)

    def test_tsum(self):
        self.gets(self.tasks.tsum.s([]), 0)
        self.gets(self.tasks.tsum.s([1, 2, 3]), 6)
        self.gets(self.tasks.tsum.s(nums=[1, 0.5]), 1.5)

    def test_tsum_of_other_elements(self):
        for nums in ([1, "2"], [[1], [2]], [None]):
            with self.subTest(nums=nums):
                self.fails(self.tasks.tsum.delay(nums), TypeError)

    def test_xsum(self):
        self.gets(self.tasks.xsum.s([1, [2, 3], 4, []]), 10)
        self.gets(self.tasks.xsum.s([]), 0)

    def test_xsum_of_other_elements(self):
        self.fails(self.tasks.xsum.delay([1, ["2"]]), TypeError)

    def test_delayed_sum(self):
        self.gets(self.tasks.delayed_sum.s([1, 2], 0), 3)
        self.gets(self.tasks.delayed_sum.s([1, 2], pause_time=0.05), 3)

    def test_delayed_sum_takes_a_second(self):
        result = self.tasks.delayed_sum.delay([3, 4])
        self.passes(0.5)
        self.assertEqual(result.state, "PENDING")
        self.assertEqual(self.get(result), 7)

    def test_pydantic(self):
        self.gets(self.tasks.add_pydantic.s({"x": 1, "y": 2}), {"result": 3})
        self.gets(self.tasks.add_pydantic_string_annotations.s(data={"x": 5, "y": -2}), {"result": 3})


class Effects(Case):
    def test_print_unicode(self):
        self.gets(self.tasks.print_unicode.s(), None)

    def test_print_unicode_of_other_texts(self):
        self.gets(self.tasks.print_unicode.s("100% %s %n", print_message="🌱"), None)

    def test_redis_echo(self):
        self.gets(self.tasks.redis_echo.s("raw, without quotes"), None)
        self.assertEqual(self.list_of("redis-echo", 1), ["raw, without quotes"])
        self.redis.delete("redis-echo")

    def test_redis_echo_to_another_key(self):
        key = self.key()
        self.gets(self.tasks.redis_echo.s("é 1", key), None)
        self.gets(self.tasks.redis_echo.s("2", redis_key=key), None)
        self.gets(self.tasks.redis_echo.s(message="", redis_key=key), None)
        self.assertEqual(self.list_of(key, 3), ["é 1", "2", ""])

    def test_redis_echo_of_a_number(self):
        key = self.key()
        self.gets(self.tasks.redis_echo.s(42, key), None)
        self.assertEqual(self.list_of(key, 1), ["42"])

    def test_redis_count(self):
        key = self.key()
        for _ in range(3):
            self.gets(self.tasks.redis_count.s(key), None)
        self.counted(key, 3)

    def test_redis_count_of_the_usual_key(self):
        self.redis.delete("redis-count")
        self.gets(self.tasks.redis_count.s(), None)
        self.counted("redis-count")

    def test_write_to_file(self):
        with temporary_folder("conformance-file-") as folder:
            path = os.path.join(folder, "numbers")
            self.gets(self.tasks.write_to_file_and_return_int.s(path, 7), 7)
            self.gets(self.tasks.write_to_file_and_return_int.s(path, i=8), 8)
            with open(path) as file:
                self.assertEqual(file.read(), "7\n8\n")

    def test_return_exception(self):
        self.gets(self.tasks.return_exception.s("e"), ["e", True])

    def test_errback_as_an_ordinary_task(self):
        key = self.key()
        self.gets(self.tasks.errback_old_style.s(key), key)
        self.counted(key)


class Request(Case):
    """What a task sees of its own message."""

    def test_ids_of_the_first_task(self):
        result = self.tasks.ids.delay(i=1)
        self.assertEqual(self.get(result), [result.id, None, 1])

    def test_collect_ids(self):
        result = self.tasks.collect_ids.delay("before", i=2)
        self.assertEqual(self.get(result), ["before", [result.id, None, 2]])

    def test_root_and_parent_that_the_caller_gives(self):
        result = self.tasks.ids.apply_async(kwargs={"i": 3}, root_id="the-root", parent_id="the-parent")
        self.assertEqual(self.get(result), ["the-root", "the-parent", 3])

    def test_priority(self):
        for priority in (0, 3, 5, 9):
            self.gets(self.tasks.return_priority.s("any", 1), f"Priority: {priority}", priority=priority)

    def test_properties(self):
        returned = self.get(self.tasks.return_properties.apply_async(app_id="the-app"))
        self.assertEqual(returned["app_id"], "the-app")

    def test_an_id_that_the_caller_fixes(self):
        id = self.key("my own id")
        result = self.tasks.ids.apply_async(kwargs={"i": 0}, task_id=id)
        self.assertEqual(result.id, id)
        self.assertEqual(self.get(result), [id, None, 0])


class BuiltIn(Case):
    """What Celery's workers have beside the application's tasks."""

    def test_accumulate(self):
        self.gets(signature_of("celery.accumulate", 1, "b", [3]), [1, "b", [3]])

    def test_accumulate_one(self):
        self.gets(signature_of("celery.accumulate", [1, 2], 3, index=0), [1, 2])

    def test_map(self):
        self.gets(self.tasks.tsum.map([[1, 2], [3], []]), [3, 3, 0])

    def test_starmap(self):
        self.gets(self.tasks.add.starmap([(1, 2), ("a", "b"), ([1], [2])]), [3, "ab", [1, 2]])

    def test_chunks(self):
        result = self.tasks.add.chunks(zip(range(7), range(7)), 3).apply_async()
        self.assertEqual(self.get(result), [[0, 2, 4], [6, 8, 10], [12]])

    def test_map_fails_as_its_task(self):
        self.fails(self.tasks.tsum.map([[1], ["a"]]).apply_async(), TypeError)

    def test_backend_cleanup(self):
        self.gets(signature_of("celery.backend_cleanup"), None)
