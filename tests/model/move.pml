/* SPDX-License-Identifier: Apache-2.0
 *
 * The move of one user from backend A to backend B, and perhaps back, over a fleet of proxies: hold,
 * confirm, flip, release (docs/moves.md). It follows what proxy/routing/directory*.c does step by
 * step; a rule of that code is a line here, and each BUG_... takes one rule away. tests/model/run.py
 * checks that the promise holds as it is, and that it breaks without any of the rules.
 *
 * Two promises, whatever the schedule:
 *   strict  the user never has sessions on A and on B at the same time
 *   plain   (with SETS, an operator who writes routes without a hold) what a proxy uses without
 *           asking is what Redis has, or word of it is on its way; and so is the backend of every
 *           session that was not told to go
 *
 * Redis is one linearisable store: what is one command or one script there is one atomic step here.
 * All else takes time: a question is asked, Redis reads the hold, Redis reads the route, the answers
 * arrive; a confirmation is sent, and is carried out later or never. Changes are told on another
 * connection (the watch), late, in any order between keys, and not at all while it is lost. A proxy
 * may crash and come back; the mover may die anywhere; a hold may run out at any moment.
 *
 *   NODES    proxies              LOSSES   connections lost, of all proxies together
 *   MOVERS   1 or 2, 2 moves back CRASHES  of all proxies together
 *   EXPIRIES of holds             RETIRES  proxies that are shut down in order
 *   SETS     of the route by an operator; then there is no mover
 */
#ifndef NODES
#define NODES 2
#endif
#ifndef MOVERS
#define MOVERS 1
#endif
#ifndef LOSSES
#define LOSSES 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef EXPIRIES
#define EXPIRIES 1
#endif
#ifndef RETIRES
#define RETIRES 0
#endif
#ifndef SETS
#define SETS 0
#endif

#define NONE 0
#define A 1
#define B 2

/* What a question has come to. */
#define NOTHING 0
#define ASKED 1
#define HALF 2
#define BOTH 3

#if SETS > 0
#define OPENED skip
#define QUIET (watching[n] && !tell_route[n] && !tell_hold[n] && !ask && asking == NOTHING)
#else
#define OPENED assert(!(on[A] > 0 && on[B] > 0))
#endif

/* --- Redis */
byte route = A;         /* gatepost:route:<user> */
byte hold = 0;          /* gatepost:hold:<user>: 0, or the epoch of a move */
byte ack[NODES];        /* gatepost:move:<user>: the epoch that each proxy has confirmed */
bool registered[NODES]; /* gatepost:node:<id> */

/* --- What is told, and to whom */
bool watching[NODES];
bool tell_route[NODES];
bool tell_hold[NODES];

/* --- The world */
byte on[3]; /* live sessions on A and on B, of all proxies */
byte losses = 0;
byte crashes = 0;
byte expiries = 0;
byte retires = 0;

inline broadcast_route() {
	k = 0;
	do
	:: k < NODES -> tell_route[k] = tell_route[k] || watching[k]; k++
	:: else -> k = 0; break
	od
}

inline broadcast_hold() {
	k = 0;
	do
	:: k < NODES -> tell_hold[k] = tell_hold[k] || watching[k]; k++
	:: else -> k = 0; break
	od
}

proctype Node(byte n)
{
	byte cache = NONE;      /* the route that is known */
	bool fresh = false;     /* and may be used without asking */
	byte held = 0;          /* the epoch that is known, 0 = no hold */
	byte target = NONE;     /* a login that was told a route, and is no session yet */
	byte mine = NONE;       /* the backend of a session (one is enough) */
	byte asking = NOTHING;
	byte said_hold = 0;
	byte said_route = NONE;
	bool heard = false;     /* something was heard of the user since it was asked */
	bool ask = false;       /* somebody here must know anew */
	byte confirming = 0;    /* a confirmation under way, not yet carried out */
	bool connected = true;
	bool retiring = false;
	bool told = false;      /* the session was told to go */

#ifdef BUG_REGISTER_LATE
	skip;
#else
	atomic { registered[n] = true };
#endif
	atomic { watching[n] = true };
end:	do
	/* --- logins: the user is not on hold, and what is known is fresh */
	:: atomic { mine == NONE && target == NONE && held == 0 && cache != NONE && fresh &&
		!retiring ->
#if SETS > 0
		assert(tell_route[n] || cache == route);
#endif
		target = cache }
	/* a question: by a login, or since something was heard */
	:: atomic { asking == NOTHING && connected && !retiring &&
		(ask || (mine == NONE && target == NONE && held == 0 && !fresh)) ->
		asking = ASKED; ask = false; heard = false }
	/* Redis carries out the two commands, one after the other */
#ifdef BUG_ROUTE_BEFORE_HOLD
	:: atomic { asking == ASKED && connected -> said_route = route; asking = HALF }
	:: atomic { asking == HALF && connected -> said_hold = hold; asking = BOTH }
#else
	:: atomic { asking == ASKED && connected -> said_hold = hold; asking = HALF }
	:: atomic { asking == HALF && connected -> said_route = route; asking = BOTH }
#endif
	/* the answer arrives, and counts only if nothing was heard since */
	:: atomic { asking == BOTH ->
		asking = NOTHING;
		if
#ifndef BUG_LATE_ANSWER
		:: heard -> ask = true
		:: !heard ->
#else
		:: true ->
#endif
			held = said_hold;
			if
			:: held == 0 ->
				cache = said_route;
				told = told || (mine != NONE && mine != cache);
				if :: target != NONE && target != cache -> target = NONE :: else fi;
#ifdef BUG_CACHE_BLIND
				fresh = true;
#else
				fresh = watching[n];
#endif
				/* whoever asked goes on, or has left meanwhile */
				if
				:: mine == NONE && target == NONE && !retiring -> target = cache
				:: true
				fi
			:: else ->
#ifdef BUG_LAST_ROUTE_ON_HOLD
				skip
#else
				cache = NONE; fresh = false
#endif
			fi
		fi;
		said_hold = 0; said_route = NONE; heard = false }
	/* Redis cannot be asked: the last known route serves, but never a user on hold */
#ifdef BUG_LAST_ROUTE_ON_HOLD
	:: atomic { !connected && mine == NONE && target == NONE && cache != NONE &&
		!retiring -> target = cache }
#else
	:: atomic { !connected && mine == NONE && target == NONE && held == 0 && cache != NONE &&
		!retiring -> target = cache }
#endif
	/* the session opens */
	:: atomic { target != NONE && mine == NONE ->
		mine = target; target = NONE; told = false; on[mine]++;
		OPENED }
	/* it ends, whoever ended it; or the login came to nothing */
	:: atomic { mine != NONE -> on[mine]--; mine = NONE }
	:: atomic { target != NONE -> target = NONE }

	/* --- what is heard */
	:: atomic { watching[n] && tell_route[n] ->
		tell_route[n] = false; heard = asking != NOTHING; cache = NONE; fresh = false;
		ask = ask || mine != NONE || target != NONE }
	:: atomic { watching[n] && tell_hold[n] ->
		tell_hold[n] = false; heard = asking != NOTHING; ask = true;
#ifndef BUG_LAST_ROUTE_ON_HOLD
		cache = NONE; fresh = false
#endif
		}
#if SETS > 0
	/* --- quiet: nothing is under way that could tell this proxy of a change */
	:: atomic { QUIET && held == 0 && mine != NONE && !told -> assert(mine == route) }
#endif

	/* --- confirmations: on hold, nobody here, and every change is heard */
#ifdef BUG_CONFIRM_PRESENT
	:: atomic { held != 0 && connected && watching[n] && target == NONE &&
		confirming == 0 && ack[n] != held -> confirming = held }
#else
#ifdef BUG_CONFIRM_IN_FLIGHT
	:: atomic { held != 0 && connected && watching[n] && mine == NONE &&
		confirming == 0 && ack[n] != held -> confirming = held }
#else
	:: atomic { held != 0 && connected && watching[n] && mine == NONE && target == NONE &&
		confirming == 0 && ack[n] != held -> confirming = held }
#endif
#endif
	:: atomic { confirming != 0 && connected ->
#ifdef BUG_CONFIRM_ANY_EPOCH
		if :: hold != 0 -> ack[n] = hold :: else -> ask = true fi;
#else
		if :: hold == confirming -> ack[n] = confirming :: else -> ask = true fi;
#endif
		confirming = 0 }

	/* --- connections break, and are made anew */
	:: atomic { connected && losses < LOSSES ->
		losses++; connected = false;
		watching[n] = false; tell_route[n] = false; tell_hold[n] = false; fresh = false;
		/* a confirmation may still have been carried out */
		if
		:: confirming != 0 && hold == confirming -> ack[n] = confirming
		:: true
		fi;
		confirming = 0;
		if :: asking != NOTHING -> ask = ask || mine != NONE || held != 0 :: else fi;
		asking = NOTHING; said_hold = 0; said_route = NONE; heard = false }
	:: atomic { !connected -> connected = true }
	:: atomic { watching[n] && losses < LOSSES ->
		losses++; watching[n] = false; tell_route[n] = false; tell_hold[n] = false
#ifndef BUG_FRESH_WHILE_BLIND
		; fresh = false
#endif
		}
	:: atomic { !watching[n] && connected && registered[n] ->
		watching[n] = true;
#ifndef BUG_NO_RESYNC
		fresh = false; heard = asking != NOTHING;
		ask = ask || mine != NONE || target != NONE || held != 0
#endif
		}

	/* --- the process crashes and comes back; or it is shut down */
	:: atomic { crashes < CRASHES && !retiring ->
		crashes++;
		if :: mine != NONE -> on[mine]-- :: else fi;
		mine = NONE; target = NONE; cache = NONE; fresh = false; held = 0;
		asking = NOTHING; said_hold = 0; said_route = NONE; heard = false; ask = false;
		confirming = 0; connected = true;
		tell_route[n] = false; tell_hold[n] = false; watching[n] = true }
	:: atomic { retires < RETIRES && !retiring -> retires++; retiring = true }
#ifdef BUG_RETIRE_EARLY
	:: atomic { retiring && registered[n] -> registered[n] = false; watching[n] = false;
		tell_route[n] = false; tell_hold[n] = false }
#else
	:: atomic { retiring && registered[n] && mine == NONE && target == NONE ->
		registered[n] = false; watching[n] = false; cache = NONE;
		tell_route[n] = false; tell_hold[n] = false }
#endif
#ifdef BUG_REGISTER_LATE
	:: atomic { !registered[n] && mine != NONE && !retiring -> registered[n] = true }
#endif
	od
}

proctype Mover(byte epoch; byte to)
{
	byte k;
	bool wanted[NODES];

#ifdef BUG_LIST_BEFORE_HOLD
	atomic { k = 0; do :: k < NODES -> wanted[k] = registered[k]; k++ :: else -> k = 0; break od }
#endif
	/* 1 hold, where nobody else holds; then who is there */
	if
	:: atomic { hold == 0 -> hold = epoch; broadcast_hold() }
	:: atomic { hold != 0 -> goto done }
	fi;
#ifndef BUG_LIST_BEFORE_HOLD
	atomic { k = 0; do :: k < NODES -> wanted[k] = registered[k]; k++ :: else -> k = 0; break od };
#endif
	/* 2 each of them confirms this very epoch; the mover may give up, or die, at any time */
wait:	if
#ifdef BUG_ONE_IS_ENOUGH
	:: ack[0] == epoch -> skip
#else
	:: (!wanted[0] || ack[0] == epoch) && (!wanted[1] || ack[1] == epoch) &&
	   (!wanted[NODES - 1] || ack[NODES - 1] == epoch) -> skip
#endif
	:: goto release
	:: goto done
	fi;
	/* 3 flip, in one script: only while this very hold stands */
	if
#ifdef BUG_FLIP_UNCHECKED
	:: atomic { route = to; broadcast_route() }
#else
	:: atomic { hold == epoch -> route = to; broadcast_route() }
	:: atomic { hold != epoch -> goto done }
#endif
	:: goto done
	fi;
	/* 4 release, if it still is ours */
release:
	atomic { if :: hold == epoch -> hold = 0; broadcast_hold() :: else fi };
done:	skip
}

proctype Operator()
{
	byte k;
	byte sets = 0;

end:	do
	:: atomic { sets < SETS -> sets++; route = 3 - route; broadcast_route() }
	od
}

proctype Time()
{
	byte k;

end:	do
	:: atomic { expiries < EXPIRIES && hold != 0 -> expiries++; hold = 0; broadcast_hold() }
	od
}

init {
	byte m;

	atomic {
		m = 0;
		do :: m < NODES -> run Node(m); m++ :: else -> break od;
#if SETS > 0
		run Operator()
#else
		run Time();
		run Mover(1, B);
#if MOVERS > 1
		run Mover(2, A)
#endif
#endif
	}
}
