#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs, by name, the Debian packages that are missing, and says what it does. Never asks, and
# never starts a service of a package that it installs.
#
#   deploy/install-deps.sh            what `make` and `make run` need
#   deploy/install-deps.sh --test     and what `make test` needs
#   deploy/install-deps.sh --check    and what `make check`, `make model` and `make fuzz` need
#   deploy/install-deps.sh --bench    what `make bench` needs

set -eu

BUILD="gcc g++ make git libc6-dev libev-dev android-libboringssl-dev libhiredis-dev libc-ares-dev
       libtomlplusplus-dev uthash-dev"
RUN="redis-server redis-tools dovecot-imapd openssl curl ca-certificates python3"
TEST="libcmocka-dev python3-pytest isync libsasl2-modules neomutt mutt offlineimap3 bsdutils
      fetchmail getmail6 interimap imapfilter gsasl cyrus-clients uw-mailutils aerc expect
      sslscan testssl.sh python3-cryptography"
CHECK="clang clang-format clang-tidy libclang-rt-dev cppcheck spin"
BENCH="nginx libnginx-mod-mail haproxy libcmocka-dev"

POLICY=/usr/sbin/policy-rc.d

fail() {
	echo "install-deps: $*" >&2
	exit 1
}

usage() {
	echo "usage: deploy/install-deps.sh [--test|--check|--bench]" >&2
	exit 2
}

is_installed() {
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of() {
	for package in "$@"; do
		is_installed "$package" || printf ' %s' "$package"
	done
}

# as_root runs a command as root, without ever asking for a password.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@" </dev/null
	else
		sudo -n "$@" </dev/null
	fi
}

may_be_root() {
	[ "$(id -u)" = 0 ] && return 0
	command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null
}

apt() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confdef \
		-o Dpkg::Options::=--force-confold "$@"
}

# Debian's maintainer scripts ask policy-rc.d before they start a service, with systemd or without.
# Where the machine has a policy of its own, it stands.
forbid_services() {
	[ -e "$POLICY" ] && return 0
	trap allow_services EXIT
	trap 'exit 1' HUP INT TERM
	as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$POLICY && chmod 755 $POLICY"
}

allow_services() {
	as_root rm -f "$POLICY"
}

case "${1-}" in
'') wanted="$BUILD $RUN" ;;
--test) wanted="$BUILD $RUN $TEST" ;;
--check) wanted="$BUILD $RUN $TEST $CHECK" ;;
--bench) wanted="$BUILD $RUN $BENCH" ;;
*) usage ;;
esac
[ $# -le 1 ] || usage

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
	# shellcheck disable=SC2086
	fail "this is not Debian. Install what these packages hold, by your system's means:" $wanted
fi

# shellcheck disable=SC2086 # a list of words
missing=$(missing_of $wanted)
[ -n "$missing" ] || exit 0

may_be_root ||
	fail "missing:$missing
install-deps: neither root, nor sudo without a password. As root run: apt-get install$missing"

echo "install-deps: installing with apt-get:$missing"
echo "install-deps: (their services are not started now)"
forbid_services
apt update >/dev/null ||
	echo "install-deps: apt-get update failed; trying with the lists at hand" >&2
# shellcheck disable=SC2086
apt install --no-install-recommends $missing || fail "apt-get could not install:$missing"
# shellcheck disable=SC2086
still=$(missing_of $missing)
[ -z "$still" ] || fail "still missing:$still"
echo "install-deps: done"
