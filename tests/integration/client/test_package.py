"""The installed library as an application meets it: pkg-config, CMake, C and C++, shared and static."""
import json
import os
import re
import subprocess
import threading
import unittest

from support.servers import BUILD, CELERIAC, ROOT, RedisServer, temporary_folder

LIBRARY_HEADERS = ("call", "canvas", "client", "error", "value")
EXAMPLE = os.path.join(ROOT, "client", "example.c")
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def declared(*headers):
    """The functions that the public headers promise."""
    names = set()
    for header in headers:
        with open(os.path.join(ROOT, "include", "celeriac", header + ".h")) as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
        text = "\n".join(line for line in text.split("\n") if not line.rstrip().endswith("\\"))
        names.update(re.findall(r"^CEL_API [^;(]*?\b(cel_\w+)\(", text, flags=re.M))
    return names


def symbols(*arguments):
    """Type and name of what nm prints; versions are cut off."""
    lines = [line.split() for line in run("nm", *arguments).splitlines()]
    return [(line[-2], line[-1].split("@")[0]) for line in lines if len(line) >= 2]


class Worker(threading.Thread):
    """Answers the next call on the queue with twice its first argument, as any worker would."""

    def __init__(self, redis):
        super().__init__(daemon=True)
        self.redis = redis.client()

    def run(self):
        import base64

        _, message = self.redis.brpop("celery", 30)
        envelope = json.loads(message)
        args, _, _ = json.loads(base64.b64decode(envelope["body"]))
        key = "celery-task-meta-" + envelope["headers"]["id"]
        document = json.dumps({"status": "SUCCESS", "result": 2 * args[0], "traceback": None, "children": [],
                               "task_id": envelope["headers"]["id"]})
        self.redis.setex(key, 60, document)
        self.redis.publish(key, document)


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(temporary_folder("celeriac-package-"))
        cls.redis = cls.enterClassContext(RedisServer(cls.folder))
        root = os.path.join(cls.folder, "root")
        run("cmake", "--install", BUILD, "--prefix", "/opt/celeriac", env={**os.environ, "DESTDIR": root})
        cls.prefix = os.path.join(root, "opt", "celeriac")
        pc = run("find", cls.prefix, "-name", "celeriac.pc").strip()
        cls.libraries = os.path.dirname(os.path.dirname(pc))
        cls.shared = os.path.join(cls.libraries, "libceleriac.so.0")
        cls.static = os.path.join(cls.libraries, "libceleriac.a")
        cls.environment = {**os.environ, "PKG_CONFIG_PATH": os.path.dirname(pc), "LD_LIBRARY_PATH": cls.libraries,
                           "CELERIAC_BROKER_URL": cls.redis.url}

    def pkg_config(self, *arguments):
        return run("pkg-config", *arguments, "celeriac", env=self.environment).split()

    def build(self, compiler, source, name, flags):
        program = os.path.join(self.folder, name)
        run(compiler, *STRICT, source, *flags, "-o", program)
        return program

    def source(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def assert_example_works(self, program):
        worker = Worker(self.redis)
        worker.start()
        self.assertEqual(run(program, "a.double", "21", env=self.environment), "SUCCESS: 42\n")
        worker.join(10)

    def test_the_shared_library_exports_what_the_headers_declare_and_nothing_else(self):
        exported = {name for kind, name in symbols("-D", "--defined-only", self.shared) if kind != "A"}
        self.assertEqual(exported, declared(*LIBRARY_HEADERS))

    def test_the_executable_exports_to_modules_what_the_headers_declare_and_nothing_else(self):
        exported = {name for kind, name in symbols("-D", "--defined-only", CELERIAC) if kind == "T"}
        self.assertEqual(exported, declared(*LIBRARY_HEADERS, "task", "db"))

    def test_the_static_library_is_one_object_that_hides_everything_else(self):
        self.assertEqual(run("ar", "t", self.static).split(), ["celeriac.o"])
        visible = {name for kind, name in symbols("--extern-only", "--defined-only", self.static)}
        self.assertEqual(visible, declared(*LIBRARY_HEADERS))

    def test_the_shared_library_needs_few_others(self):
        dynamic = run("readelf", "-d", self.shared)
        self.assertIn("Library soname: [libceleriac.so.0]", dynamic)
        needed = set(re.findall(r"\(NEEDED\).*\[(lib\w+)", dynamic))
        self.assertLessEqual(needed, {"libuv", "libhiredis", "libmsgpackc", "libz", "libbz2", "liblzma", "libzstd", "libm",
                                       "libc"})

    def test_an_application_links_the_shared_library(self):
        program = self.build("cc", EXAMPLE, "shared", ["-std=c17", *self.pkg_config("--cflags", "--libs")])
        self.assertIn("libceleriac.so.0", run("readelf", "-d", program))
        self.assert_example_works(program)

    def test_an_application_links_the_static_library(self):
        flags = [self.static if flag == "-lceleriac" else flag
                 for flag in self.pkg_config("--static", "--cflags", "--libs")]
        program = self.build("cc", EXAMPLE, "static", ["-std=c17", *flags])
        self.assertNotIn("libceleriac", run("readelf", "-d", program))
        self.assert_example_works(program)

    def test_what_the_docs_show_of_canvases_compiles(self):
        with open(os.path.join(ROOT, "docs", "canvas.md")) as file:
            code, = re.findall(r"^```c\n(.*?)^```", file.read(), flags=re.S | re.M)
        text = ("#include <celeriac/client.h>\n#include <stdio.h>\n"
                "int main(void)\n{\nstruct cel_client *client = NULL;\nstruct cel_error err;\n" + code +
                "cel_signature_free(canvas);\nreturn 0;\n}\n")
        self.build("cc", self.source("canvas.c", text), "canvas", ["-std=c17", *self.pkg_config("--cflags", "--libs")])

    def test_names_inside_do_not_meet_those_of_the_application(self):
        inside = ["buf_add", "error_set", "str_split", "json_decode", "broker_push", "client_wait", "uuid_new"]
        everything = {name for _, name in symbols(self.static)}
        self.assertLessEqual(set(inside), everything)  # they are in there, as local symbols
        text = "#include <celeriac/client.h>\n#include <stdio.h>\n"
        text += "".join(f"int {name}(void);\nint {name}(void) {{ return puts(\"mine\"); }}\n" for name in inside)
        text += """
            int main(void)
            {
                struct cel_client *client;
                struct cel_call *call = cel_call_new("a.b");
                cel_call_arg(call, cel_text("x"));
                int status = cel_client_open(NULL, &client, NULL) || cel_send(client, call, NULL, NULL);
                cel_call_free(call);
                cel_client_close(client);
                return status;
            }"""
        flags = [self.static if flag == "-lceleriac" else flag
                 for flag in self.pkg_config("--static", "--cflags", "--libs")]
        program = self.build("cc", self.source("names.c", text), "names", ["-std=c17", *flags])
        self.assertEqual(run(program, env=self.environment), "")
        self.redis.client().delete("celery")

    def test_headers_are_good_cplusplus(self):
        text = """
            #include <celeriac/client.h>
            #include <celeriac/task.h>
            #include <memory>
            #include <string>
            struct closer { void operator()(cel_client *client) const { cel_client_close(client); } };
            int main()
            {
                cel_error error{};
                cel_client *raw = nullptr;
                if (cel_client_open(nullptr, &raw, &error) != 0)
                    return 1;
                std::unique_ptr<cel_client, closer> client(raw);
                cel_call *call = cel_call_new("a.b");
                cel_call_kwarg(call, "name", cel_text(std::string("value").c_str()));
                cel_call_serializer(call, CEL_MSGPACK);
                char id[CEL_ID_SIZE];
                int status = cel_send(client.get(), call, id, &error);
                cel_call_free(call);
                return status == 0 && std::string(id).size() == 36 ? 0 : 1;
            }"""
        for compiler, standard in (("g++", "c++17"), ("clang++-14", "c++20")):
            with self.subTest(compiler=compiler):
                program = self.build(compiler, self.source("plus.cpp", text), "plus",
                                     ["-std=" + standard, *self.pkg_config("--cflags", "--libs")])
                run(program, env=self.environment)
        self.redis.client().delete("celery")

    def test_cmake_finds_the_package(self):
        folder = os.path.join(self.folder, "project")
        os.makedirs(folder)
        with open(os.path.join(folder, "CMakeLists.txt"), "w") as file:
            file.write(f"""
                cmake_minimum_required(VERSION 3.20)
                project(application C)
                find_package(celeriac 0.1 REQUIRED)
                add_executable(application {EXAMPLE})
                target_link_libraries(application celeriac::celeriac)
                add_executable(application_static {EXAMPLE})
                target_link_libraries(application_static celeriac::celeriac_static)
            """)
        run("cmake", "-S", folder, "-B", folder + "/build", "-DCMAKE_PREFIX_PATH=" + self.prefix)
        run("cmake", "--build", folder + "/build")
        self.assert_example_works(folder + "/build/application")
        self.assert_example_works(folder + "/build/application_static")


if __name__ == "__main__":
    unittest.main()
