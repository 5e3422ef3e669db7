/* SPDX-License-Identifier: Apache-2.0
 *
 * Strict moves of one user between the backends A and B, over a fleet of proxies: hold, confirm,
 * flip, release (docs/moves.md). A rule of proxy/routing/directory*.c, or of whoever moves, is a
 * line here, and each BUG_... takes one rule away.
 *
 * The promise, whatever the schedule: the user is never present on A and on B at the same time.
 * Present is who was told a route, has a session, or has left so lately that the backend may not
 * have noticed yet.
 *
 * Redis is one linearisable store: what is one command or one script there is one atomic step
 * here. All else takes its time, and may come to nothing: a hold is read, then a route, and later
 * what was read is used, or dropped; a confirmation is sent, and carried out later, or never,
 * whatever the proxy has done meanwhile.
 *
 * A proxy asks whenever it likes, goes by the last route that it knows whenever it likes, and
 * forgets whenever it likes. That is more than it does: when it hears of a change, cannot reach
 * Redis, or is killed and started again, it does some of that, so all of these are in here. When
 * it must ask is the other model (news.pml); what is shown here holds however late, or never, a
 * proxy hears.
 *
 * A hold may end at any moment: its time is over, or it is released, by whoever has set it or by
 * somebody who should not. Who moves may stop anywhere.
 *
 *   NODES    proxies, each of which may start, retire and start again at any time
 *   MOVES    1 to 3 that may all be under way at once: to B, to A, to B. 0: any number, for ever,
 *            to anywhere. Of several at once only the one whose hold stands can do anything, so
 *            they are one after the other then, and one epoch serves for all
 *   TIDY     1: when a hold ends, words for it and confirmations of it, which can do nothing any
 *            more, are thrown away, and who still believes in it believes in one that is OVER.
 *            That needs epochs that never come again, and is what makes MOVES=0 possible
 *   ASSIGN   1: the user has no route at first, and is assigned one by SET NX
 *   WITNESS  1: a move that everybody confirmed and that came to its end is an error: it can
 *            happen
 */
#ifndef NODES
#define NODES 2
#endif
#ifndef MOVES
#define MOVES 0
#endif
#ifndef ASSIGN
#define ASSIGN 0
#endif
#ifndef TIDY
#define TIDY (MOVES == 0)
#endif

#define NONE 0
#define A 1
#define B 2

/* Any epoch that does not stand any more, and never will. */
#define OVER 255

/* What a question has come to. */
#define NOTHING 0
#define HALF 1
#define BOTH 2

#define EVERYBODY ((1 << NODES) - 1)

/* Who moves stops here; for ever, or until the next one comes. */
#if MOVES == 0
#define STOPS (hold != epoch)
#else
#define STOPS true
#endif

/* --- Redis */
#if ASSIGN
byte route = NONE; /* gatepost:route:<user> */
#else
byte route = A;
#endif
byte hold = 0;          /* gatepost:hold:<user>: 0, or the epoch of a move */
byte word[NODES];       /* gatepost:move:<user>: the epoch that each proxy has confirmed */
bool registered[NODES]; /* gatepost:node:<name> */

/* --- Proxies, as far as epochs go */
byte held[NODES];      /* the hold that is known */
byte said_hold[NODES]; /* the one that was read, and does not count yet */
byte sent[NODES];      /* a confirmation that was not carried out yet */

/* --- The world: on how many proxies the user is present, by the backend */
byte present[3];

inline arrive(where) {
	assert(at == NONE || at == where);
	if
	:: at == NONE -> at = where; present[where]++
	:: else
	fi;
	assert(present[A] == 0 || present[B] == 0)
}

inline forget_question() {
	asking = NOTHING; said_hold[n] = 0; said_route = NONE
}

/* What was read counts now. */
inline learn() {
	held[n] = said_hold[n];
	if
	:: held[n] == 0 -> cache = said_route
#if defined(BUG_KEEP_ROUTE_ON_HOLD) || defined(BUG_ENTER_ON_HOLD)
	:: else
#else
	:: else -> cache = NONE
#endif
	fi
}

/* A script, carried out at last. */
inline confirm(epoch) {
#ifdef BUG_CONFIRM_ANY_HOLD
	if :: hold != 0 -> word[n] = hold :: else fi
#else
	if :: hold == epoch -> word[n] = epoch :: else fi
#endif
}

inline end_hold() {
#if TIDY
	k = 0;
	do
	:: k < NODES ->
		word[k] = (word[k] == hold -> 0 : word[k]);
		sent[k] = (sent[k] == hold -> 0 : sent[k]);
		held[k] = (held[k] == hold -> OVER : held[k]);
		said_hold[k] = (said_hold[k] == hold -> OVER : said_hold[k]);
		k++
	:: else -> k = 0; break
	od;
#endif
	hold = 0
}

proctype Node(byte n)
{
	byte cache = NONE; /* the last route that is known */
	byte at = NONE;    /* where somebody is present, of this proxy */
	byte asking = NOTHING;
	byte said_route = NONE;
#if ASSIGN
	byte offer = NONE; /* a SET NX that was not carried out yet */
#endif
#ifdef BUG_CONFIRM_IN_FLIGHT
	byte flight = NONE; /* who was told a route, and has no session yet */
#endif
#ifdef BUG_CONFIRM_UNSETTLED
	byte ghost = NONE; /* a session that has left, and of which the backend does not know it */
#endif
#ifdef BUG_LATE_ANSWER
	byte late = NONE; /* what the answer to a question said that was given up */
#endif
#ifdef BUG_RETIRE_ANYBODY
	bool retiring = false; /* the end of a registration that was not carried out yet */
#endif

start:
#ifndef BUG_REGISTER_LATE
	atomic { registered[n] = true };
#endif
end:	do
	/* --- a login: no hold is known, and a route is */
#ifdef BUG_ENTER_ON_HOLD
	:: atomic { cache != NONE && at != cache -> arrive(cache) }
#else
#ifdef BUG_CONFIRM_IN_FLIGHT
	:: atomic { held[n] == 0 && cache != NONE && flight == NONE -> flight = cache }
	:: atomic { flight != NONE -> arrive(flight); flight = NONE }
#else
	:: atomic { held[n] == 0 && cache != NONE && at != cache -> arrive(cache) }
#endif
#endif
	/* --- the last of them has left */
#ifdef BUG_CONFIRM_UNSETTLED
	:: atomic { at != NONE && ghost == NONE -> ghost = at; at = NONE }
	:: atomic { ghost != NONE -> present[ghost]--; ghost = NONE }
#else
	:: atomic { at != NONE -> present[at]--; at = NONE }
#endif

	/* --- a question, one at a time: Redis reads the hold, and then the route */
#ifdef BUG_ROUTE_BEFORE_HOLD
	:: atomic { asking == NOTHING -> said_route = route; asking = HALF }
	:: atomic { asking == HALF -> said_hold[n] = hold; asking = BOTH }
#else
	:: atomic { asking == NOTHING ->
		said_hold[n] = hold;
		/* on hold the route says nothing */
		asking = (hold == 0 -> HALF : BOTH) }
	:: atomic { asking == HALF -> said_route = route; asking = BOTH }
#endif
	:: atomic { asking == BOTH ->
		if
#if ASSIGN
		/* nobody knows the user: a backend is offered, and all is read again */
		:: said_hold[n] == 0 && said_route == NONE && offer == NONE ->
			held[n] = 0; cache = NONE;
			if :: offer = A :: offer = B fi
#endif
		:: learn()
		:: true /* something was heard since, or it took too long */
		fi;
		forget_question() }
#ifdef BUG_LATE_ANSWER
	:: atomic { asking == BOTH && said_hold[n] == 0 && late == NONE ->
		late = said_route; forget_question() }
	:: atomic { late != NONE -> held[n] = 0; cache = late; late = NONE }
#endif

	/* --- what is known is forgotten: its time is over, it was changed, there are too many */
	:: atomic { cache != NONE -> cache = NONE }
	:: atomic { held[n] != 0 && at == NONE && asking == NOTHING ->
		held[n] = 0;
#ifdef BUG_ENTER_ON_HOLD
		cache = NONE
#endif
		}

#if ASSIGN
	:: atomic { offer != NONE ->
#ifdef BUG_ASSIGN_OVER
		route = offer;
#else
		if :: route == NONE -> route = offer :: else fi;
#endif
		offer = NONE }
#endif

	/* --- a confirmation: a hold is known, and nobody is present */
#ifdef BUG_CONFIRM_PRESENT
	:: atomic { held[n] != 0 && held[n] != OVER && sent[n] == 0 && word[n] != held[n] ->
		sent[n] = held[n] }
#else
	:: atomic { held[n] != 0 && held[n] != OVER && sent[n] == 0 && word[n] != held[n] &&
		at == NONE && asking == NOTHING ->
		sent[n] = held[n] }
#endif
	:: atomic { sent[n] != 0 -> confirm(sent[n]); sent[n] = 0 }

	/* --- the end of the process, in order, once nobody is present; and another */
#ifdef BUG_REGISTER_LATE
	:: atomic { !registered[n] && at != NONE -> registered[n] = true }
#endif
#ifdef BUG_REGISTRATION_EXPIRES
	:: atomic { registered[n] -> registered[n] = false }
	:: atomic { !registered[n] -> registered[n] = true }
#endif
#ifdef BUG_RETIRE_EARLY
	:: atomic { registered[n] && at != NONE -> registered[n] = false }
	:: atomic { !registered[n] && at == NONE -> goto start }
#endif
#ifdef BUG_RETIRE_ANYBODY
	:: atomic { at == NONE && !retiring -> retiring = true; cache = NONE; held[n] = 0;
		forget_question(); goto start }
	:: atomic { retiring -> retiring = false; registered[n] = false }
#endif
	:: atomic { registered[n] && at == NONE ->
		registered[n] = false; cache = NONE; held[n] = 0; forget_question();
		goto start }
	od
}

/* One of those who have not confirmed yet, or are not registered: it is seen to be so. */
inline see_one() {
	k = 0;
	do
	:: k == NODES -> break
	:: k < NODES -> k++
#ifdef BUG_WORD_OF_ANY_MOVE
	:: k < NODES && (left & (1 << k)) != 0 && word[k] != 0 -> break
#endif
#ifdef BUG_LIST_BEFORE_HOLD
	:: k < NODES && (left & (1 << k)) != 0 && word[k] == epoch -> break
#else
	:: k < NODES && (left & (1 << k)) != 0 && (!registered[k] || word[k] == epoch) -> break
#endif
	od;
	if
#ifdef BUG_ONE_IS_ENOUGH
	:: k < NODES && word[k] == epoch -> left = 0
#endif
	:: k < NODES -> left = left & ~(1 << k)
	:: else
	fi;
	k = 0
}

/* The first chance to look who is there: too early. */
inline list() {
	do
	:: k < NODES ->
		left = (registered[k] -> left : left & ~(1 << k));
		k++
	:: else -> k = 0; break
	od
}

proctype Mover(byte epoch; byte to)
{
	byte k = 0;
	byte left = EVERYBODY; /* whose word is wanted */

#ifdef BUG_LIST_BEFORE_HOLD
	atomic { list() };
#endif
	/* 1 hold, where nobody else holds */
begin:	if
	:: atomic { hold == 0 -> hold = epoch }
	:: atomic { hold != 0 -> goto done }
	fi;
	/* 2 everybody who is registered confirms this very epoch; they are seen one by one */
	do
	:: atomic { left != 0 && hold == epoch -> see_one() }
#ifdef BUG_RENEW_ANEW
	:: atomic { hold == 0 -> hold = epoch }
#endif
	:: left == 0 -> break
	:: atomic { STOPS -> goto done } /* it gives up, or dies */
	od;
	/* 3 flip, in one script: only while this very hold stands */
	if
#ifdef BUG_FLIP_UNCHECKED
	:: atomic { route = to }
#else
#if MOVES == 0
	:: atomic { hold == epoch -> if :: route = A :: route = B fi }
#else
	:: atomic { hold == epoch -> route = to }
#endif
#endif
	:: atomic { STOPS -> goto done }
	fi;
#ifdef WITNESS
	atomic { word[0] == epoch && word[NODES - 1] == epoch && route == B };
	atomic { present[B] > 0 -> assert(false) };
#endif
done:
#if MOVES == 0
	atomic { hold != epoch -> left = EVERYBODY; goto begin }
#else
	skip
#endif
}

/* 4 A hold ends. */
proctype Time()
{
	byte k = 0;

end:	do
	:: atomic { hold != 0 -> end_hold() }
	od
}

init {
	byte m = 0;

	atomic {
		do :: m < NODES -> run Node(m); m++ :: else -> m = 0; break od;
		run Time();
#ifdef BUG_SAME_EPOCH
		run Mover(1, B);
		run Mover(1, A);
#else
		run Mover(1, B);
#if MOVES > 1
		run Mover(2, A);
#endif
#if MOVES > 2
		run Mover(3, B);
#endif
#endif
	}
}
