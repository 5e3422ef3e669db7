/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the directory share.
 *
 * A user belongs to one shard, whose lock is held for a few instructions at a time, and never while
 * the store is asked or a worker is told. Under it one may take the lock of an inbox, or of the
 * texts. All that is the keeper's is touched on its thread only, without a lock.
 */
#ifndef GATEPOST_ROUTING_DIRECTORY_INTERNAL_H
#define GATEPOST_ROUTING_DIRECTORY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "base/error.h"
#include "base/hash.h"
#include "core/config.h"
#include "core/log_bound.h"
#include "core/metrics.h"
#include "lookup_internal.h"
#include "net/inbox.h"
#include "net/timeouts.h"
#include "residents_internal.h"
#include "route_cache_internal.h"
#include "route_text_internal.h"
#include "routing/directory.h"
#include "store_internal.h"

struct directory_drains;

/* Questions for users at a time, of two commands each; others wait for their turn. */
#define DIRECTORY_ASKS_MAX 1024

/* After a gap all who are here are asked for, so many a second, in rounds. */
#define DIRECTORY_REASKS_PER_SECOND 2000
#define DIRECTORY_ROUND_MS          10
#define DIRECTORY_REASKS_PER_ROUND  (DIRECTORY_REASKS_PER_SECOND * DIRECTORY_ROUND_MS / 1000)

/* A question without an answer is asked again so much later: the former while a login waits. */
#define DIRECTORY_SOON_MS  50
#define DIRECTORY_LATER_MS 1000

/* While somebody of a user on hold is here, the hold is read so often: Redis tells that a key has
 * expired when it comes across it, which may take hours where many others have a time to live. */
#define DIRECTORY_LOOK_MS 3000

/* Times that a user is assigned a route and none is found then, before that is an error. */
#define DIRECTORY_TRIES_MAX 3

/* How often the registration is looked after, and how often all else that nobody tells of. */
#define DIRECTORY_HEARTBEAT_MS 5000
#define DIRECTORY_BEAT_MS      1000

#define DIRECTORY_HOLD_PREFIX   "gatepost:hold:"
#define DIRECTORY_MOVE_PREFIX   "gatepost:move:"
#define DIRECTORY_NODE_PREFIX   "gatepost:node:"
#define DIRECTORY_DRAIN_PREFIX  "gatepost:drain:"
#define DIRECTORY_CANARY_PREFIX "gatepost:canary:"

/* The longest prefix, a name, and what stands behind it. */
#define DIRECTORY_KEY_MAX  (sizeof(DIRECTORY_CANARY_PREFIX) + CONFIG_USER_MAX)
#define DIRECTORY_NODE_MAX 288

#define DIRECTORY_PREFIXES 5

/* Why logins fail here, for the log and nobody else. */
#define WHY_PARKED "too many logins wait for the end of a hold (moves.max_parked)"
#define WHY_MEMORY "out of memory"

struct directory_shard {
	pthread_mutex_t lock;
	struct route_cache cache;
	struct residents residents;
} __attribute__((aligned(64)));

/* struct directory_words is a command in the making. */
#define DIRECTORY_WORDS_MAX 24
struct directory_words {
	const char *words[DIRECTORY_WORDS_MAX];
	size_t lengths[DIRECTORY_WORDS_MAX];
	size_t count;
};

/* What residents wait for, each kind with a list of its own. */
enum directory_due {
	DIRECTORY_DUE_ANSWER,  /* the end of redis.timeout */
	DIRECTORY_DUE_SOON,    /* asking again */
	DIRECTORY_DUE_LATER,   /* the same */
	DIRECTORY_DUE_SETTLED, /* no backend has a session any more */
	DIRECTORY_DUE_LOOK,    /* whether the hold is over */
	DIRECTORY_DUES,
};

/* struct directory_queue: those who wait to be asked for. */
struct directory_queue {
	struct resident *head;
	size_t count;
};

/* struct directory_node is the registration of this process. */
struct directory_node {
	char name[DIRECTORY_NODE_MAX];
	char incarnation[17]; /* random, in hex */
	char address[256];
	uint64_t started; /* Unix time */
	uint64_t beat_ms; /* when it was last looked after */
	struct store_question question;
	struct store_question check;
	bool ever;  /* it was registered before */
	bool again; /* at once when the question is answered */
	bool cluster_told;
	struct store_question retirement;
	void (*retired)(void *owner); /* NULL: stays */
	void *owner;
	bool retirement_told;
	struct timeout retire_settled; /* the last who left has no session any more */
	struct timeout retire_due;
};

struct directory {
	struct config *config;
	struct pool *pool;
	struct lookup lookup;
	struct hash_key key;
	struct route_texts texts;
	struct directory_shard shards[DIRECTORY_SHARDS];

	/* Any thread. */
	pthread_mutex_t desk_lock;
	struct directory_desk *desks;
	pthread_mutex_t log_lock;
	struct log_bound stale_lines;
	char why[256];             /* why Redis cannot be asked; under log_lock */
	_Atomic uint32_t epoch;    /* of what is heard: another after every gap */
	_Atomic uint32_t parked;   /* stays */
	_Atomic uint32_t empties;  /* residents without a stay */
	_Atomic uint32_t sessions; /* present stays */
	_Atomic uint64_t
		settled_ms;     /* the backends have no session of anybody who left, from then */
	_Atomic bool open;      /* the keeper is there */
	_Atomic bool reachable; /* Redis can be asked, and knows of this process */

	/* The keeper's alone. */
	struct directory_house house;
	struct inbox inbox;
	struct inbox_item canary_item;
	struct store *store;
	struct timeout_list dues[DIRECTORY_DUES]; /* residents */
	struct timeout_list rounds;
	struct timeout_list beats;
	struct timeout_list settlements;
	struct timeout_list retirements;
	struct timeout round;
	struct timeout beat;
	struct directory_queue first;
	struct directory_queue in_turn;
	size_t asks; /* questions for users on their way */
	bool registered;
	bool pumping;
	bool sweeps; /* all who are here shall be asked for */
	struct directory_node node;
	struct directory_drains *drains;
	struct log_bound hold_lines;
	struct log_bound ask_lines;
	struct log_bound confirm_lines;
	struct log_bound assign_lines;
	struct log_bound drain_lines;
	const char *prefixes[DIRECTORY_PREFIXES];
	char node_prefix[DIRECTORY_NODE_MAX + sizeof(DIRECTORY_NODE_PREFIX)];
};

/* --- directory.c ------------------------------------------------------------------------------ */

struct directory_shard *directory_shard_of(struct directory *directory, uint64_t hash);

/* directory_moment is now; of what nobody would hear a change of, it is in no stretch. */
struct route_moment directory_moment(const struct directory *directory, bool heard);

/* directory_warn_stale says, at most once a second, that Redis cannot be asked. Any thread. */
void directory_warn_stale(struct directory *directory);

/* resident_leave_to frees a resident for whom there is no reason any more, or leaves it to the
 * keeper; under the shard's lock, on a worker's thread. */
void resident_leave_to(struct directory *directory, struct directory_shard *shard,
		       struct resident *resident);

/* directory_receive is the inbox of a desk. */
inbox_receive_t directory_receive;

/* --- directory_stays.c, under the shard's lock ------------------------------------------------ */

void stay_link(struct directory *directory, struct resident *resident, struct stay *stay);

/* stay_unlink takes a stay out of wherever it is; the caller gives its route back. */
void stay_unlink(struct directory *directory, struct resident *resident, struct stay *stay);

/* These change what a stay is, and post it to its desk. `route` is borrowed. */
void stay_answer(struct directory *directory, struct resident *resident, struct stay *stay,
		 struct route_text *route, unsigned news);
void stay_fail(struct directory *directory, struct resident *resident, struct stay *stay,
	       const char *why);
void stay_release(struct directory *directory, struct resident *resident, struct stay *stay);

/* stay_park fails the stay where too many wait; false then. */
bool stay_park(struct directory *directory, struct resident *resident, struct stay *stay);

/* stay_set is the one place where a stay's state changes, and all counts with it. */
void stay_set(struct directory *directory, struct resident *resident, struct stay *stay,
	      enum stay_state state);

/* stay_tell adds news for a stay, and posts it. */
void stay_tell(struct stay *stay, unsigned news);

/* resident_tell_keeper posts the resident to the keeper, where there is one. */
void resident_tell_keeper(struct directory *directory, struct resident *resident);

/* --- directory_steps.c ------------------------------------------------------------------------ */

/* directory_consider finds what is to be done next for a resident, and does it. The resident may be
 * gone then. */
void directory_consider(struct directory *directory, struct resident *resident);

/* directory_dequeue takes a resident out of the queue that it waits in, if any. */
void directory_dequeue(struct directory *directory, struct resident *resident);

/* directory_let_go: the keeper has done its part, and the resident is the workers' again, or gone.
 * Under the shard's lock. */
void directory_let_go(struct directory *directory, struct directory_shard *shard,
		      struct resident *resident);

/* directory_pump asks for those who wait for that, as many as may be asked at a time. */
void directory_pump(struct directory *directory);

/* directory_arm_round begins rounds for all who are here, where that is possible and needed. */
void directory_arm_round(struct directory *directory);
timeout_callback_t directory_on_round;
timeout_callback_t directory_on_due;

bool directory_can_ask(const struct directory *directory);

/* directory_resume: asking has become possible. */
void directory_resume(struct directory *directory);

/* directory_note_gap: what was known may be old. `all` says that those who are here shall be asked
 * for. */
void directory_note_gap(struct directory *directory, bool all);

/* --- directory_sync.c ------------------------------------------------------------------------- */

/* These keep why Redis cannot be asked, for those who fail meanwhile. */
void directory_set_why(struct directory *directory, const char *why);
void directory_get_why(struct directory *directory, struct error *error);

/* directory_store_ask asks what `words` make; their first key is words[key]. */
void directory_store_ask(struct directory *directory, struct store_question *question,
			 const struct directory_words *words, size_t key,
			 store_callback_t *callback);
void directory_words_add(struct directory_words *words, const char *word);
void directory_words_add_bytes(struct directory_words *words, const char *word, size_t length);

/* directory_explain says why a reply is no use, for those who wait and for the log. */
void directory_explain(const struct redis_reply *reply, struct error *why);

/* --- directory_ask.c -------------------------------------------------------------------------- */

/* directory_ask asks for hold and route of an idle resident. It may be gone afterwards. */
void directory_ask(struct directory *directory, struct resident *resident);

/* directory_serve_stale answers all who wait with the last that was known, where there is that;
 * directory_fail_asking does so too, and with `why` where there is not. Under the shard's lock. */
void directory_serve_stale(struct directory *directory, struct directory_shard *shard,
			   struct resident *resident);
void directory_fail_asking(struct directory *directory, struct directory_shard *shard,
			   struct resident *resident, const char *why);

/* --- directory_confirm.c ---------------------------------------------------------------------- */

void directory_confirm(struct directory *directory, struct resident *resident);

/* --- directory_assign.c ----------------------------------------------------------------------- */

void directory_assign(struct directory *directory, struct resident *resident);
void directory_assign_anew(struct directory *directory, struct resident *resident);

/* --- directory_node.c ------------------------------------------------------------------------- */

void directory_node_init(struct directory *directory);
void directory_node_start(struct directory *directory);

/* directory_node_register registers, and directory_resume follows; directory_node_beat looks after
 * it, once in a second. */
void directory_node_register(struct directory *directory);
void directory_node_beat(struct directory *directory);
void directory_node_changed(struct directory *directory);
void directory_node_retire(struct directory *directory);
void directory_node_stop(struct directory *directory);

/* --- directory_drain.c ------------------------------------------------------------------------ */

must_use bool directory_drains_start(struct directory *directory);
void directory_drains_ask_all(struct directory *directory);
void directory_drains_changed(struct directory *directory, const char *name, size_t length);
void directory_drains_beat(struct directory *directory);
void directory_drains_tell_canary(struct directory *directory);
void directory_drains_stop(struct directory *directory);

#endif
