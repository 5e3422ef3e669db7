/* SPDX-License-Identifier: Apache-2.0
 *
 * This proxy's word in a strict move: nobody of this user is here, and nobody will be while this
 * very hold stands.
 */
#include "core/log.h"
#include "directory_internal.h"
#include "directory_scripts_internal.h"

/* How long a confirmation is kept, in milliseconds: at least, and of a hold that has no end. */
#define KEPT_MIN     "60000"
#define KEPT_ENDLESS "86400000"

static void warn(struct directory *directory, const struct resident *resident,
		 const struct redis_reply *reply)
{
	struct error why = {0};
	uint64_t held_back;

	if (!log_bound_admits(&directory->confirm_lines, timeouts_now_ms(), &held_back)) {
		return;
	}
	redis_reply_explain(reply, &why);
	log_warn("a hold could not be confirmed", log_text("user", resident->user),
		 log_text("detail", why.text), log_number("held_back", (int64_t)held_back));
}

/* Under the shard's lock. */
static void conclude(struct directory *directory, struct resident *resident,
		     const struct redis_reply *reply)
{
	bool answered = reply->kind == REDIS_REPLY_NUMBER;

	resident->activity = RESIDENT_IDLE;
	if (answered && reply->number == 1) {
		resident->confirms = false;
		metrics_count(directory->house.metrics, METRIC_HOLDS_CONFIRMED);
	} else if (answered && reply->number == 0) {
		resident->ask = RESIDENT_ASK_NOW;
	} else if (resident->ask == RESIDENT_KNOWN) {
		resident->retry_ms = timeouts_now_ms() + DIRECTORY_LATER_MS;
	}
}

static void on_reply(struct store_question *question, const struct redis_reply *reply)
{
	struct resident *resident = container_of(question, struct resident, hold_question);
	struct directory *directory = resident->directory;
	struct directory_shard *shard = directory_shard_of(directory, resident->hash);

	resident->waiting = 0;
	if (reply->kind != REDIS_REPLY_NUMBER) {
		warn(directory, resident, reply);
	} else if (reply->number < 0) {
		directory_node_changed(directory);
	}
	pthread_mutex_lock(&shard->lock);
	conclude(directory, resident, reply);
	pthread_mutex_unlock(&shard->lock);
	directory_consider(directory, resident);
}

/* Nobody is present, and nobody can be until the keeper reads that the hold is over. */
void directory_confirm(struct directory *directory, struct resident *resident)
{
	char hold[DIRECTORY_KEY_MAX];
	char move[DIRECTORY_KEY_MAX];
	char node[sizeof(DIRECTORY_NODE_PREFIX) + DIRECTORY_NODE_MAX];
	const char *texts[] = {
		"EVAL",
		SCRIPT_CONFIRM,
		"3",
		hold,
		move,
		node,
		resident->hold,
		directory->node.name,
		directory->node.incarnation,
		KEPT_MIN,
		KEPT_ENDLESS,
	};
	struct directory_words words = {0};

	snprintf(hold, sizeof(hold), "%s%s", DIRECTORY_HOLD_PREFIX, resident->user);
	snprintf(move, sizeof(move), "%s%s", DIRECTORY_MOVE_PREFIX, resident->user);
	snprintf(node, sizeof(node), "%s%s", DIRECTORY_NODE_PREFIX, directory->node.name);
	for (size_t i = 0; i < array_length(texts); i++) {
		directory_words_add(&words, texts[i]);
	}
	resident->activity = RESIDENT_CONFIRMING;
	resident->waiting = 1;
	directory_store_ask(directory, &resident->hold_question, &words, 3, on_reply);
}
