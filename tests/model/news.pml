/* SPDX-License-Identifier: Apache-2.0
 *
 * What one proxy knows of one user, while anybody writes the user's route and hold in Redis
 * (docs/moves.md): what is heard, what is asked and when, and what counts. A rule of
 * proxy/routing/directory*.c is a line here, and each BUG_... takes one rule away. Other proxies
 * are among those who write.
 *
 * The promises, whatever the schedule:
 *   fresh  a route that is used without asking is what Redis has, and there is no hold, or else
 *          word of the change is on its way
 *   quiet  when all that was heard is dealt with, every session that was not told to go is where
 *          Redis wants it, nobody waits for a hold that is over, nobody stays in spite of one, and
 *          a hold that was set, or renewed, while the proxy heard of changes is known to it, and
 *          confirmed once nobody is present
 *   swap   a route that an operator wrote is not replaced by one that is assigned
 *
 * Commands go over one connection, and changes are told on another, late and in any order between
 * keys. Each may be lost at any moment, and what was not told by then never is. After the
 * commands' connection comes back, the proxy has to register before it asks; it may hear of
 * changes sooner. That a hold has expired is told when Redis comes across it, perhaps never.
 *
 *   WITNESS  1: a session that has followed its user is an error, so that it is seen to happen; 2:
 *            a login that waits for the end of a hold that is confirmed is one
 */
#ifndef WITNESS
#define WITNESS 0
#endif

#define NONE 0
#define A 1
#define B 2

/* What a question has come to. */
#define NOTHING 0
#define ASKED 1
#define HALF 2
#define BOTH 3

/* --- Redis */
byte route = A;
bool hold = false;
bool assigned = true; /* what the route's text says: it was not written by an operator */

/* --- What is told */
bool watching = false;
bool tell_route = false;
bool tell_hold = false;
bool told_of_hold = false; /* the hold that stands was told, or will be */
bool untold = false;       /* it has expired, and Redis has not come across it */

/* --- The proxy */
bool ready = false;      /* there is a connection for commands */
bool registered = false; /* and Redis may be asked */
bool sweep = false;      /* all who are here shall be asked for */
bool ask = false;        /* this user shall be asked for */
bool about_hold = false; /* even if nobody is here */
byte cache = NONE;       /* the last route that is known */
bool fresh = false;      /* and may be used without asking */
bool held = false;       /* a hold is known */
bool confirms = false;   /* and shall be confirmed */
bool due = false;        /* now, or when the pause after a failure is over */
bool confirming = false;
bool at[3];              /* who was told a route, and not to go, by the backend */
bool going = false;      /* who was told to go, and is still present */
bool waiting = false;    /* a login waits for an answer */
bool parked = false;     /* a login waits for the end of the hold */
byte asking = NOTHING;
bool said_hold = false;
byte said_route = NONE;
bool counts = false; /* nothing was heard of the user since it was asked, and nothing missed */
byte swap = NONE;    /* a backend that is given up: another shall be assigned */

#define PRESENT (at[A] || at[B] || going)
#define SOMEBODY (PRESENT || waiting || parked)
#define CAN_ASK (ready && registered)
#define MAY_CONFIRM (held && confirms && !PRESENT && CAN_ASK && watching)
#ifdef BUG_NO_LOOK
#define LOOKS false
#else
#define LOOKS (held && SOMEBODY) /* once in a while whether the hold is over */
#endif
#define QUIET (CAN_ASK && watching && !tell_route && !tell_hold && !sweep && !ask && \
	       asking == NOTHING && !waiting && !due && !confirming && !LOOKS)

inline tell_of_route() {
	tell_route = tell_route || watching
}

inline tell_of_hold() {
	tell_hold = tell_hold || watching;
	told_of_hold = hold && watching;
	untold = false
}

/* Whether there is something to be confirmed now. */
inline consider() {
	due = due || MAY_CONFIRM
}

/* The last known route, while Redis does not answer. */
inline serve_last() {
	if
	:: waiting && !held && cache != NONE -> at[cache] = true; waiting = false
	:: else
	fi
}

inline end_question() {
	asking = NOTHING; said_hold = false; said_route = NONE; counts = false;
	consider()
}

/* Redis said no, or nothing, or the connection is gone. */
inline fail_question() {
	serve_last();
#ifndef BUG_FAILURE_FORGOTTEN
	ask = true;
#endif
	end_question()
}

/* What was known may be old. */
inline gap() {
#ifndef BUG_ANSWER_OVER_GAP
	counts = false;
#endif
#ifndef BUG_FRESH_OVER_GAP
	fresh = false
#else
	skip
#endif
}

inline go_blind() {
	watching = false; tell_route = false; tell_hold = false;
	told_of_hold = false; untold = false;
	gap()
}

inline learn_hold() {
	held = true; confirms = true; cache = NONE; fresh = false;
	parked = parked || waiting; waiting = false;
	going = PRESENT;
	at[A] = false; at[B] = false
}

inline learn_route() {
	held = false; confirms = false; cache = said_route;
#ifdef BUG_FRESH_WHILE_BLIND
	fresh = true;
#else
	fresh = watching;
#endif
	going = going || at[3 - cache];
	at[3 - cache] = false;
	at[cache] = at[cache] || waiting;
	waiting = false;
	/* who waited for the end of the hold comes again */
	parked = false
}

proctype Proxy()
{
end:	do
	/* --- a login */
	:: atomic { !waiting && !parked && held -> parked = true }
	:: atomic { !held && cache != NONE && fresh ->
		assert(cache == route || tell_route);
		assert(!hold || tell_hold);
		at[cache] = true }
	:: atomic { !held && cache != NONE && !fresh && !registered ->
#ifndef BUG_LAST_ROUTE_UNASKED
		ask = true;
#endif
		at[cache] = true }
	:: atomic { !held && !fresh && !waiting -> waiting = true; ask = true }
	/* it has waited for too long */
	:: atomic { waiting -> serve_last(); waiting = false }
	/* they leave */
	:: atomic { at[A] -> at[A] = false; consider() }
	:: atomic { at[B] -> at[B] = false; consider() }
#ifdef BUG_LEAVE_UNNOTICED
	:: atomic { going -> going = false }
#else
	:: atomic { going -> going = false; consider() }
#endif
	:: atomic { parked -> parked = false }
	:: atomic { ask && !SOMEBODY && !held && !about_hold -> ask = false }

	/* --- a question */
	:: atomic { ask && asking == NOTHING && !confirming && CAN_ASK ->
		ask = false; counts = true; asking = ASKED }
	:: atomic { asking == ASKED -> said_hold = hold; asking = HALF }
	:: atomic { asking == HALF -> said_route = route; asking = BOTH }
	:: atomic { asking == BOTH ->
		if
#ifndef BUG_LATE_ANSWER
		:: !counts -> ask = true
		:: counts ->
#else
		:: true ->
#endif
			about_hold = false;
			if :: said_hold -> learn_hold() :: else -> learn_route() fi
		fi;
		end_question() }
	:: atomic { asking != NOTHING -> fail_question() }
	:: atomic { LOOKS && !ask && asking == NOTHING -> ask = true }

	/* --- a confirmation: questions go first */
	:: atomic { due && asking == NOTHING && !confirming ->
		due = false; confirming = MAY_CONFIRM && !ask }
	:: atomic { confirming ->
		confirming = false;
		if
		:: CAN_ASK && hold -> confirms = false
		:: CAN_ASK && !hold -> ask = true
#ifdef BUG_CONFIRM_ONCE
		:: true
#else
		:: consider() /* it came to nothing: once more, later */
#endif
		fi }

	/* --- what was known is old, or has no room */
	:: atomic { fresh -> fresh = false }
	:: atomic { cache != NONE -> cache = NONE; fresh = false }

	/* --- what is heard */
	:: atomic { tell_route ->
		tell_route = false;
#ifndef BUG_LATE_ANSWER
		counts = false;
#endif
#ifndef BUG_KEEP_ROUTE_ON_NEWS
		cache = NONE; fresh = false;
#endif
#ifndef BUG_DEAF_TO_ROUTES
		ask = ask || SOMEBODY || held;
#endif
		}
	:: atomic { tell_hold ->
		tell_hold = false;
		counts = false; cache = NONE; fresh = false;
#ifdef BUG_DEAF_TO_HOLDS
		ask = ask || SOMEBODY || held
#else
		ask = true; about_hold = true
#endif
		}

	/* --- connections: blind first, then lost; ready first, then the rest */
	:: atomic { watching -> go_blind() }
	:: atomic { ready ->
		if :: watching -> go_blind() :: else fi;
		ready = false; registered = false;
		if :: asking != NOTHING -> fail_question() :: else fi }
	:: atomic { !ready -> ready = true }
	:: atomic { ready && !registered ->
		registered = true;
#ifndef BUG_RESUME_FORGETS_HOLDS
		ask = ask || held
#endif
		}
	/* somebody has taken the name, or the registration away */
	:: atomic { registered -> registered = false }
	:: atomic { ready && !watching ->
		watching = true; gap();
#ifndef BUG_NO_SWEEP
		sweep = true
#endif
		}
	:: atomic { sweep ->
		sweep = false;
#ifdef BUG_SWEEP_FORGETS_HOLDS
		ask = ask || SOMEBODY
#else
		ask = ask || SOMEBODY || held
#endif
		}

	/* --- a backend that was assigned is given up, and another is to be assigned: whoever asked
	 * for it has left, and comes again; the script is carried out later */
	:: atomic { at[A] && !held && swap == NONE -> at[A] = false; swap = A; consider() }
	:: atomic { swap != NONE && ready ->
		if
#ifdef BUG_SWAP_UNCHECKED
		:: true ->
#else
		:: route == swap && assigned ->
#endif
			assert(assigned);
			route = 3 - swap; tell_of_route()
		:: else
		fi;
		swap = NONE }
	od
}

proctype World()
{
end:	do
	:: atomic { route = 3 - route; assigned = false; tell_of_route() }
	:: atomic { route = 3 - route; assigned = true; tell_of_route() }
	:: atomic { hold = !hold; tell_of_hold() }
	/* it is renewed, or it expires, which may be told later */
	:: atomic { hold -> tell_of_hold() }
	:: atomic { hold -> hold = false; told_of_hold = false; untold = watching }
	:: atomic { untold -> tell_of_hold() }
	:: atomic { QUIET ->
		assert(!at[A] || route == A);
		assert(!at[B] || route == B);
		assert(!parked || hold);
		assert(!held || hold || untold);
		assert(!hold || !(at[A] || at[B]));
		assert(!told_of_hold || held);
		assert(!told_of_hold || PRESENT || !confirms) }
#if WITNESS == 1
	:: atomic { QUIET && at[B] -> assert(false) }
#elif WITNESS == 2
	:: atomic { hold && held && parked && !confirms -> assert(false) }
#endif
	od
}

init {
	atomic { run Proxy(); run World() }
}
