#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# All that is checked without running gatepost: make lint calls
#   CPPFLAGS=... tests/lint/run.sh GATEPOST OBJECT...
# Each check is silent when it passes; the last line counts.
set -u
here=$(dirname "$0")
cd "$here/../.." || exit 1
here=tests/lint
: "${CPPFLAGS:?}"
export CPPFLAGS
PYTHON=${PYTHON:-/usr/bin/python3}
export PYTHONDONTWRITEBYTECODE=1
binary=$1
shift
checks=0
failed=0

check() {
	name=$1
	shift
	checks=$((checks + 1))
	if output=$("$@" 2>&1); then
		echo "ok   $name"
	else
		failed=$((failed + 1))
		echo "FAIL $name"
		echo "$output" | sed 's/^/  /'
	fi
}

check "the lint itself" "$PYTHON" $here/selftest.py
check "floors, rooms of libraries, manners" "$PYTHON" $here/floors.py
check "headers compile alone" $here/headers.sh
check "writable globals" "$PYTHON" $here/globals.py "$@"
check "linkage and hardening" $here/linkage.sh "$binary"
check "sizes, first lines" "$PYTHON" $here/sizes.py
check "words" "$PYTHON" $here/words.py
# shellcheck disable=SC2086
check "cppcheck" cppcheck --quiet -j"$(nproc)" --std=c11 --error-exitcode=1 --inline-suppr \
	--enable=warning,performance,portability --suppressions-list=$here/cppcheck.allow \
	-Iinclude -D_GNU_SOURCE -DOPENSSL_IS_BORINGSSL proxy tests/bench tests/support
check "clang-tidy" $here/tidy.sh proxy/*/*.c proxy/*/*.cpp tests/bench/*.c tests/support/*.c

"$PYTHON" $here/sizes.py --report
echo "lint: $checks checks, $failed failed"
[ "$failed" -eq 0 ]
