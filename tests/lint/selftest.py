# SPDX-License-Identifier: Apache-2.0
"""The lint itself: each rule, broken once in a small tree of its own, must be named."""
import os
import subprocess
import sys
import tempfile

import source

HERE = os.path.dirname(os.path.abspath(__file__))
FIRST = "/* SPDX-License-Identifier: Apache-2.0 */\n"
DEEP = "int f(int a)\n{\n" + "if (a) {\n" * 4 + "}\n" * 4 + "return a;\n}\n"
LONG = "void f(void)\n{\n" + "\tg();\n" * 68 + "}\n"

# checker, file, its text, what must be said; None: nothing.
CASES = [
    ("floors", "proxy/imap/a.c", '#include "base/base.h"\n#include <string.h>\n', None),
    ("floors", "proxy/imap/a.c", '#include "net/stream.h"\n', "higher floor net"),
    ("floors", "include/base/a.h", '#include "imap/sasl.h"\n', "higher floor imap"),
    ("floors", "proxy/net/a.c", '#include "net/b.c"\n', "no file of proxy/ is included"),
    ("floors", "proxy/net/a.c", '#include "routing_internal.h"\n#include "core/log_internal.h"\n',
     "private to core"),
    ("floors", "proxy/routing/a.c", "#include <openssl/ssl.h>\n", "does not live in this room"),
    ("floors", "proxy/core/a.c", "#include <ev.h>\n", "does not live in this room"),
    ("floors", "proxy/net/a.c", "#include <ev.h>\n", None),
    ("floors", "proxy/net/a.c", "#include <pthread.h>\n", "does not live in this room"),
    ("floors", "proxy/imap/a.c", "#include <time.h>\n", "no I/O, clock or locale"),
    ("floors", "proxy/imap/a.c", "#include <sys/socket.h>\n", "only addr knows addresses"),
    ("floors", "proxy/imap/a.c", "int f(void)\n{\n\treturn time(NULL);\n}\n", "time() is not"),
    ("floors", "proxy/imap/a.c", 'char *f = "time(NULL)"; /* time() */\n', None),
    ("floors", "proxy/imap/a.c", "int x = s->time();\n", None),
    ("floors", "proxy/session/a.c", "int f(void)\n{\n\treturn time(NULL);\n}\n",
     "clock of the wall"),
    ("floors", "proxy/routing/directory_node.c", "int f(void)\n{\n\treturn time(NULL);\n}\n", None),
    ("floors", "proxy/session/a.c", "void f(void)\n{\n\tstrcpy(a, b);\n}\n", "strcpy() is not"),
    ("floors", "proxy/net/a.c", "#define CHECK(x) \\\n\tif (x) return\n", "macro that jumps"),
    ("floors", "proxy/net/a.c", "void f(void)\n{\n\tgoto again;\n}\n", "the one label is done"),
    ("floors", "proxy/session/a.c", "a->phase = 1;\nb->phase == 2;\nc->phase = 3;\n", "a.c:3"),
    ("floors", "proxy/kitchen/a.c", "\n", "stands on no floor"),
    ("sizes", "proxy/net/a.c", FIRST + DEEP, "nests 4 levels"),
    ("sizes", "proxy/net/a.c", FIRST + LONG, "has 71 lines"),
    ("sizes", "proxy/net/a.c", FIRST + LONG.replace("\tg();\n", "", 1), None),
    ("sizes", "proxy/net/a.c", FIRST + "void f(int a, int b, int c, int d, int e, int g)\n{\n}\n",
     "6 parameters"),
    ("sizes", "proxy/net/a.c", FIRST + "void f(int a, int (*b)(int, int), int c)\n{\n}\n", None),
    ("sizes", "proxy/net/a.c", FIRST + "\n" * 800, "801 lines"),
    ("sizes", "include/net/a.h", FIRST + "\n" * 150, "151 lines"),
    ("sizes", "include/net/a.h", FIRST + "\n" * 149, None),
    ("sizes", "proxy/net/a.c", "int x;\n", "does not begin with"),
    ("sizes", "proxy/net/a.c", FIRST + "\t" * 12 + "12345\n", "101 columns"),
    ("sizes", "proxy/net/a.c", FIRST + 'char *u = "https://x"; /* http://y */\n', None),
    ("sizes", "proxy/net/a.c", FIRST + "int x; // why\n", "// comments"),
]
CYCLE = {"include/net/a.h": '#include "net/b.h"\n', "proxy/net/b.c": '#include "net/a.h"\n',
         "include/net/b.h": "\n"}
# b uses a part of a's room whose name begins with a's, but which is nobody's.
PRIVATE = {"include/net/a.h": '#include "net/b.h"\n', "include/net/b.h": "\n",
           "proxy/net/b.c": '#include "a_cache_internal.h"\n',
           "proxy/net/a_cache_internal.h": "\n"}


def run(checker, tree):
    with tempfile.TemporaryDirectory() as root:
        for path, text in tree.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        done = subprocess.run([sys.executable, os.path.join(HERE, checker + ".py")], check=False,
                              capture_output=True, text=True, env={**os.environ, "LINT_ROOT": root})
        return done.returncode, done.stdout + done.stderr


def main():
    faults = source.Faults()
    cases = [(checker, {path: text}, said) for checker, path, text, said in CASES]
    cases.append(("floors", CYCLE, "include each other"))
    cases.append(("floors", PRIVATE, None))
    for checker, tree, said in cases:
        status, output = run(checker, tree)
        right = (status == 0 and not output) if said is None else (status == 1 and said in output)
        if not right:
            faults.add(f"tests/lint/{checker}.py", 1, f"{tree!r:.200}: wanted {said!r}, {output!r}")
    faults.finish()


main()
