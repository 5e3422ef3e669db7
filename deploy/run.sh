#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A whole cluster on this machine, in a folder of its own that is gone at the end: a private Redis,
# two Dovecots with different mail, one of them behind TLS, certificates, and gatepost in front.
# Logs two people in, says what to try next, and stays until Ctrl-C. `make run` calls it.
#
#   GATEPOST=PATH       the program (default: build/release/gatepost)
#   PORT=9993           where gatepost listens on 127.0.0.1, with TLS from the first byte
#   STARTTLS_PORT=9143  the same, with STARTTLS
#   SECONDS_TO_RUN=30   end after so long, with the status of the logins
#   STATIC=1            no Redis: the users stand in the configuration

set -eu

HERE=$(cd "$(dirname "$0")" && pwd)
GATEPOST=${GATEPOST:-$HERE/../build/release/gatepost}
PORT=${PORT:-9993}
STARTTLS_PORT=${STARTTLS_PORT:-9143}
SECONDS_TO_RUN=${SECONDS_TO_RUN:-}
STATIC=${STATIC:-}
PASSWORD=secret
PATH=$PATH:/usr/sbin:/sbin
DIR=
PIDS=
NICE_BOLD='' NICE_GREEN='' NICE_RED='' NICE_END=''
if [ -t 1 ]; then
	NICE_BOLD=$(printf '\033[1m') NICE_GREEN=$(printf '\033[32m')
	NICE_RED=$(printf '\033[31m') NICE_END=$(printf '\033[0m')
fi

fail() {
	echo "run: $*" >&2
	exit 1
}

# clean_up ends what was started here, and waits, so that the folder can go.
# shellcheck disable=SC2317 # called by a trap
clean_up() {
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	for pid in $PIDS; do
		kill "$pid" 2>/dev/null || true
	done
	for pid in $PIDS; do
		wait "$pid" 2>/dev/null || true
	done
	cd /
	[ -z "$DIR" ] || rm -rf "$DIR" || { sleep 1 && rm -rf "$DIR"; }
	exit "$status"
}

# free_ports prints as many free ports of 127.0.0.1 as asked for.
free_ports() {
	python3 - "$1" <<-'END'
	import socket, sys
	sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
	print(*(s.getsockname()[1] for s in sockets))
	END
}

port_is_free() {
	python3 - "$1" <<-'END' 2>/dev/null
	import socket, sys
	socket.create_server(("127.0.0.1", int(sys.argv[1])))
	END
}

# retry_until gives a command ten seconds to succeed, as long as the process PID lives.
retry_until() {
	pid=$1
	shift
	tries=100
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		kill -0 "$pid" 2>/dev/null && [ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# Certificates: an authority made for this run, and a server's by it (ECDSA P-256).
make_certificate() {
	cat >openssl.cnf <<-'END'
	[req]
	distinguished_name = dn
	prompt = no
	[dn]
	CN = gatepost demonstration
	[ca]
	basicConstraints = critical, CA:TRUE
	keyUsage = critical, keyCertSign
	[server]
	basicConstraints = CA:FALSE
	subjectAltName = DNS:localhost, IP:127.0.0.1
	END
	{
		openssl req -config openssl.cnf -x509 -extensions ca -days 30 -nodes \
			-newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout ca.key -out ca.pem
		openssl req -config openssl.cnf -new -nodes \
			-newkey ec -pkeyopt ec_paramgen_curve:P-256 -keyout server.key \
			-out server.csr
		openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
			-extfile openssl.cnf -extensions server -days 30 -out server.pem
	} 2>openssl.log || fail "openssl could not make a certificate: $(cat openssl.log)"
	chmod 600 ca.key server.key
}

start_redis() {
	redis-server --port 0 --unixsocket "$DIR/redis.sock" --unixsocketperm 777 \
		--save '' --appendonly no --dir "$DIR" >redis.log 2>&1 &
	PIDS="$! $PIDS"
	retry_until $! redis-cli -s "$DIR/redis.sock" PING ||
		fail "Redis did not start: $(tail -n 5 redis.log)"
	redis-cli -s "$DIR/redis.sock" MSET \
		gatepost:route:alice mail1 gatepost:route:bob mail2 >/dev/null
}

# seed_message puts one mail into a user's inbox that says which server this is.
seed_message() {
	server=$1 user=$2
	mkdir -p "$server/mail/$user/Maildir/cur" "$server/mail/$user/Maildir/new" \
		"$server/mail/$user/Maildir/tmp"
	cat >"$server/mail/$user/Maildir/new/1.$server" <<-END
	From: gatepost <gatepost@localhost>
	To: $user <$user@localhost>
	Subject: this is $user on $server
	Date: $(date -R)
	Message-ID: <$user.$server@localhost>

	You read this on $server.
	END
}

# start_dovecot gives it TLS where a third argument names it ("starttls").
start_dovecot() {
	server=$1 port=$2 tls=${3:-}
	mkdir -p "$server"
	seed_message "$server" alice
	seed_message "$server" bob
	if [ "$(id -u)" = 0 ]; then
		internal_user=dovecot internal_group=dovecot login_user=dovenull
		mail_user=nobody mail_group=nogroup
		chown -R nobody:nogroup "$server/mail"
	else
		internal_user=$(id -un) internal_group=$(id -gn) login_user=$(id -un)
		mail_user=$(id -un) mail_group=$(id -gn)
	fi
	sed -e "s,@DIR@,$DIR/$server," -e "s,@PORT@,$port," -e "s,@PASSWORD@,$PASSWORD," \
		-e "s,@INTERNAL_USER@,$internal_user," -e "s,@INTERNAL_GROUP@,$internal_group," \
		-e "s,@LOGIN_USER@,$login_user," -e "s,@MAIL_USER@,$mail_user," \
		-e "s,@MAIL_GROUP@,$mail_group," "$HERE/demo/dovecot-$DOVECOT.conf" >"$server.conf"
	[ -z "$tls" ] || cat >>"$server.conf" <<-END
	ssl = yes
	ssl_cert = <$DIR/server.pem
	ssl_key = <$DIR/server.key
	END
	dovecot -F -c "$DIR/$server.conf" >"$server.log" 2>&1 &
	PIDS="$! $PIDS"
	retry_until $! curl -fsS --user "alice:$PASSWORD" "imap://127.0.0.1:$port/" -X NOOP ||
		fail "Dovecot did not start: $(tail -n 5 "$server.log" "$server/dovecot.log")"
}

start_gatepost() {
	routing=redis process_user=
	[ -z "$STATIC" ] || routing=static
	[ "$(id -u)" != 0 ] || process_user=nobody
	cat "$HERE/demo/gatepost.toml" "$HERE/demo/routing-$routing.toml" |
		sed -e "s,@DIR@,$DIR," -e "s,@PORT@,$PORT," -e "s,@STARTTLS_PORT@,$STARTTLS_PORT," \
			-e "s,@MAIL1_PORT@,$MAIL1_PORT," -e "s,@MAIL2_PORT@,$MAIL2_PORT," \
			-e "s,@PROCESS_USER@,$process_user," \
			>gatepost.toml
	"$GATEPOST" -c "$DIR/gatepost.toml" >gatepost.log 2>&1 &
	GATEPOST_PID=$!
	PIDS="$GATEPOST_PID $PIDS"
	retry_until $GATEPOST_PID \
		curl -fsS --cacert ca.pem "imaps://localhost:$PORT/" -X CAPABILITY ||
		fail "gatepost did not start: $(tail -n 5 gatepost.log)"
}

# log_in fetches the subject of a user's first message through gatepost, at a URL.
log_in() {
	user=$1 server=$2 url=$3
	subject=$(curl -fsS --ssl-reqd --cacert ca.pem --user "$user:$PASSWORD" \
		"$url/INBOX;MAILINDEX=1;SECTION=HEADER.FIELDS%20(SUBJECT)" \
		2>curl.log | tr -d '\r' | sed '/^$/d') || subject=
	if [ "$subject" = "Subject: this is $user on $server" ]; then
		printf '  %-6s %s\n' "$user" "$NICE_GREEN$subject$NICE_END"
	else
		printf '  %-6s %s\n' "$user" \
			"${NICE_RED}failed$NICE_END: ${subject:-$(cat curl.log)}"
		LOGINS=1
	fi
}

route_of() {
	redis-cli -s redis.sock GET "gatepost:route:$1"
}

print_cluster() {
	echo
	echo "${NICE_BOLD}A cluster in $DIR$NICE_END"
	echo
	[ -n "$STATIC" ] || echo "  Redis     $DIR/redis.sock"
	echo "  mail1     imap://127.0.0.1:$MAIL1_PORT    Dovecot $DOVECOT, plain TCP"
	echo "  mail2     imap://127.0.0.1:$MAIL2_PORT    Dovecot $DOVECOT, verified STARTTLS"
	echo "  gatepost  imaps://localhost:$PORT     TLS from the first byte"
	echo "            imap://localhost:$STARTTLS_PORT      STARTTLS"
	echo
	if [ -n "$STATIC" ]; then
		echo "Its configuration says:   alice = \"mail1\"   bob = \"mail2\"   (no Redis)"
	else
		echo "Redis says:   gatepost:route:alice = $(route_of alice)" \
			"  gatepost:route:bob = $(route_of bob)"
	fi
	echo
	echo "${NICE_BOLD}They log in with curl, alice by TLS and bob by STARTTLS, and read their" \
		"first message:$NICE_END"
	echo
}

print_next() {
	box="imaps://localhost:$PORT/INBOX"
	echo
	echo "${NICE_BOLD}Try next, in another terminal:$NICE_END"
	echo
	echo "  curl --cacert $DIR/ca.pem --user alice:$PASSWORD '$box;MAILINDEX=1'"
	echo
	echo "  curl --cacert $DIR/ca.pem --user bob:$PASSWORD --ssl-reqd" \
		"'imap://localhost:$STARTTLS_PORT/INBOX;MAILINDEX=1'"
	echo
	echo "  mutt -n -F /dev/null -e 'set ssl_ca_certificates_file=$DIR/ca.pem folder=$box" \
		"imap_user=alice imap_pass=$PASSWORD' -f $box"
	echo
	if [ -n "$STATIC" ]; then
		echo "  cat $DIR/gatepost.toml"
	else
		echo "  redis-cli -s $DIR/redis.sock SET gatepost:route:alice mail2"
		echo "                       (her sessions end, and her next login goes to mail2)"
		echo "  redis-cli -s $DIR/redis.sock SET gatepost:hold:alice word EX 20"
		echo "                       (her logins wait for as long, still connected)"
	fi
	echo
}

# stay waits for Ctrl-C, for the time to be over, or for gatepost to die.
stay() {
	if [ -n "$SECONDS_TO_RUN" ]; then
		echo "${NICE_BOLD}This ends in $SECONDS_TO_RUN s. gatepost's log:$NICE_END"
	else
		echo "${NICE_BOLD}Ctrl-C ends it, leaving nothing behind. gatepost's log:$NICE_END"
	fi
	tail -n +1 -f gatepost.log &
	PIDS="$PIDS $!"
	left=${SECONDS_TO_RUN:--1}
	while [ "$left" != 0 ]; do
		sleep 1 &
		wait $! || true
		kill -0 "$GATEPOST_PID" 2>/dev/null || fail "gatepost ended"
		left=$((left - 1))
	done
}

case "$SECONDS_TO_RUN" in
*[!0-9]*) fail "SECONDS=$SECONDS_TO_RUN: a number of seconds is wanted" ;;
esac
[ -x "$GATEPOST" ] || fail "no program at $GATEPOST; \`make\` builds it"
GATEPOST=$(cd "$(dirname "$GATEPOST")" && pwd)/$(basename "$GATEPOST")
port_is_free "$PORT" ||
	fail "127.0.0.1:$PORT is taken by another program. Name a free one: make run PORT=9994"
port_is_free "$STARTTLS_PORT" ||
	fail "127.0.0.1:$STARTTLS_PORT is taken by another program. Name a free one:" \
		"make run STARTTLS_PORT=9144"
DOVECOT=$(dovecot --version | cut -d. -f1,2)
[ -f "$HERE/demo/dovecot-$DOVECOT.conf" ] || fail "Dovecot $DOVECOT: only 2.3 is known here"

LOGINS=0
trap clean_up EXIT
trap 'exit $LOGINS' INT TERM HUP
DIR=$(mktemp -d /tmp/gatepost-run.XXXXXX)
chmod 755 "$DIR"
cd "$DIR"

ports=$(free_ports 2)
MAIL1_PORT=${ports% *} MAIL2_PORT=${ports#* }
make_certificate
[ -n "$STATIC" ] || start_redis
start_dovecot mail1 "$MAIL1_PORT"
start_dovecot mail2 "$MAIL2_PORT" starttls
start_gatepost
print_cluster
log_in alice mail1 "imaps://localhost:$PORT"
log_in bob mail2 "imap://localhost:$STARTTLS_PORT"
print_next
stay
exit $LOGINS
