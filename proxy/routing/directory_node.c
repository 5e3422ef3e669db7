/* SPDX-License-Identifier: Apache-2.0
 *
 * The registration of this process, which never expires by itself: a move waits for the word of
 * everybody who is registered. Without it no user is asked for.
 *
 * Two processes must not have one name, or the word of one would count for the other. Who starts
 * takes the name, as one that was restarted does; who finds it taken goes by a name with its
 * incarnation from then on.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "directory_internal.h"
#include "directory_scripts_internal.h"

/* When the registration could not be made, it is tried again so much later. */
#define RETRY_MS DIRECTORY_BEAT_MS

static uint64_t unix_time(void)
{
	return (uint64_t)time(NULL);
}

/* --- Names ------------------------------------------------------------------------------------ */

void directory_node_init(struct directory *directory)
{
	struct directory_node *node = &directory->node;
	const char *configured = directory->config->process.node;
	uint64_t random = 0;

	if (gethostname(node->address, sizeof(node->address) - 1) != 0 ||
	    node->address[0] == '\0') {
		snprintf(node->address, sizeof(node->address), "unknown");
	}
	if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
		random = unix_time() << 32 ^ (uint64_t)getpid();
	}
	snprintf(node->incarnation, sizeof(node->incarnation), "%016" PRIx64, random);
	snprintf(node->name, sizeof(node->name), "%s",
		 configured != NULL && configured[0] != '\0' ? configured : node->address);
	node->started = unix_time();
}

/* At most once: a name with an incarnation is nobody else's. */
static void take_other_name(struct directory *directory)
{
	struct directory_node *node = &directory->node;
	char name[DIRECTORY_NODE_MAX];

	snprintf(name, sizeof(name), "%.255s~%s", node->name, node->incarnation);
	log_error("another process has taken the name of this proxy (process.node)",
		  log_text("node", node->name), log_text("now", name));
	memcpy(node->name, name, sizeof(name));
	node->ever = false;
}

static void write_key(const struct directory *directory,
		      char key[sizeof(DIRECTORY_NODE_PREFIX) + DIRECTORY_NODE_MAX])
{
	snprintf(key, sizeof(DIRECTORY_NODE_PREFIX) + DIRECTORY_NODE_MAX, "%s%s",
		 DIRECTORY_NODE_PREFIX, directory->node.name);
}

/* --- Registering ------------------------------------------------------------------------------ */

static void note_registered(struct directory *directory)
{
	struct directory_node *node = &directory->node;

	if (!node->ever) {
		node->ever = true;
		log_info("registered in Redis", log_text("node", node->name),
			 log_text("incarnation", node->incarnation));
	}
	if (store_is_cluster(directory->store) && !node->cluster_told) {
		node->cluster_told = true;
		log_warn("in a cluster no hold can be confirmed: strict moves are not possible",
			 log_text("node", node->name));
	}
	if (!directory->registered) {
		directory_resume(directory);
	}
}

static void note_failure(struct directory *directory, const struct redis_reply *reply)
{
	struct error why = {0};

	redis_reply_explain(reply, &why);
	if (reply->kind != REDIS_REPLY_FAILED) {
		log_error(directory->registered
				  ? "the registration of this proxy cannot be renewed"
				  : "this proxy cannot be registered in Redis, and asks for nobody",
			  log_text("node", directory->node.name), log_text("detail", why.text));
	}
	if (!directory->registered) {
		error_prefix(&why, "this proxy cannot be registered");
		directory_set_why(directory, why.text);
		atomic_store(&directory->reachable, false);
	}
}

static void on_registered(struct store_question *question, const struct redis_reply *reply)
{
	struct directory_node *node = container_of(question, struct directory_node, question);
	struct directory *directory = container_of(node, struct directory, node);

	if (reply->kind == REDIS_REPLY_NUMBER && reply->number == 0) {
		directory->registered = false;
		take_other_name(directory);
		node->again = true;
	}
	/* What happened since it was asked may have undone it. */
	if (node->again) {
		directory_node_register(directory);
	} else if (reply->kind == REDIS_REPLY_NUMBER) {
		note_registered(directory);
	} else {
		note_failure(directory, reply);
	}
}

static void add_fields(struct directory *directory, struct directory_words *words,
		       char numbers[4][24])
{
	struct directory_node *node = &directory->node;
	const char *version = directory->house.version;
	const char *fields[] = {
		"incarnation", node->incarnation, "address",
		node->address, "version",         version != NULL ? version : "unknown",
		"pid",         numbers[0],        "started",
		numbers[1],    "sessions",        numbers[2],
		"last_seen",   numbers[3],
	};

	snprintf(numbers[0], 24, "%ld", (long)getpid());
	snprintf(numbers[1], 24, "%" PRIu64, node->started);
	snprintf(numbers[2], 24, "%" PRIu32,
		 atomic_load_explicit(&directory->sessions, memory_order_relaxed));
	snprintf(numbers[3], 24, "%" PRIu64, unix_time());
	for (size_t i = 0; i < array_length(fields); i++) {
		directory_words_add(words, fields[i]);
	}
}

void directory_node_register(struct directory *directory)
{
	struct directory_node *node = &directory->node;
	char key[sizeof(DIRECTORY_NODE_PREFIX) + DIRECTORY_NODE_MAX];
	char numbers[4][24];
	struct directory_words words = {0};

	if (node->retired != NULL || !store_is_ready(directory->store)) {
		return;
	}
	node->again = node->question.pending != NULL;
	if (node->again) {
		return;
	}
	node->beat_ms = timeouts_now_ms();
	write_key(directory, key);
	directory_words_add(&words, "EVAL");
	directory_words_add(&words, SCRIPT_REGISTER);
	directory_words_add(&words, "1");
	directory_words_add(&words, key);
	directory_words_add(&words, node->incarnation);
	directory_words_add(&words, node->ever ? "keep" : "take");
	add_fields(directory, &words, numbers);
	directory_store_ask(directory, &node->question, &words, 3, on_registered);
}

void directory_node_beat(struct directory *directory)
{
	uint64_t pause_ms = directory->registered ? DIRECTORY_HEARTBEAT_MS : RETRY_MS;

	if (directory->node.question.pending == NULL &&
	    timeouts_now_ms() >= directory->node.beat_ms + pause_ms) {
		directory_node_register(directory);
	}
}

/* --- Whose name it is ------------------------------------------------------------------------- */

static void on_checked(struct store_question *question, const struct redis_reply *reply)
{
	struct directory_node *node = container_of(question, struct directory_node, check);
	struct directory *directory = container_of(node, struct directory, node);
	bool ours = reply->kind == REDIS_REPLY_TEXT && strcmp(reply->text, node->incarnation) == 0;

	/* Gone, or another's: the script finds out which. */
	if (!ours && reply->kind != REDIS_REPLY_FAILED) {
		directory_node_register(directory);
	}
}

/* Our own writes are told too. */
void directory_node_changed(struct directory *directory)
{
	struct directory_node *node = &directory->node;
	char key[sizeof(DIRECTORY_NODE_PREFIX) + DIRECTORY_NODE_MAX];
	struct directory_words words = {0};

	if (node->retired != NULL || !node->ever || node->check.pending != NULL) {
		return;
	}
	write_key(directory, key);
	directory_words_add(&words, "HGET");
	directory_words_add(&words, key);
	directory_words_add(&words, "incarnation");
	directory_store_ask(directory, &node->check, &words, 1, on_checked);
}

/* --- Retiring --------------------------------------------------------------------------------- */

static void end_retirement(struct directory *directory, bool known)
{
	struct directory_node *node = &directory->node;
	void (*retired)(void *owner) = node->retired;

	store_cancel(&node->retirement);
	timeout_remove(&node->retire_due);
	if (!known) {
		log_warn(
			"the registration of this proxy could not be taken back: moves wait for it",
			log_text("node", node->name));
	}
	if (!node->retirement_told) {
		node->retirement_told = true;
		retired(node->owner);
	}
}

static void on_retired(struct store_question *question, const struct redis_reply *reply)
{
	struct directory_node *node = container_of(question, struct directory_node, retirement);
	struct directory *directory = container_of(node, struct directory, node);

	if (reply->kind == REDIS_REPLY_NUMBER) {
		end_retirement(directory, true);
	} else if (reply->kind == REDIS_REPLY_ERROR) {
		end_retirement(directory, false);
	}
}

static void on_retire_due(struct timeout *due)
{
	struct directory_node *node = container_of(due, struct directory_node, retire_due);

	end_retirement(container_of(node, struct directory, node), false);
}

void directory_node_retire(struct directory *directory)
{
	struct directory_node *node = &directory->node;
	char key[sizeof(DIRECTORY_NODE_PREFIX) + DIRECTORY_NODE_MAX];
	struct directory_words words = {0};

	if (node->retirement_told || node->retirement.pending != NULL ||
	    timeout_is_waiting(&node->retire_settled)) {
		return;
	}
	write_key(directory, key);
	directory_words_add(&words, "EVAL");
	directory_words_add(&words, SCRIPT_RETIRE);
	directory_words_add(&words, "1");
	directory_words_add(&words, key);
	directory_words_add(&words, node->incarnation);
	directory_store_ask(directory, &node->retirement, &words, 3, on_retired);
}

/* Where Redis is away just now, it may come back in time. */
static void begin_retirement(struct directory *directory)
{
	uint64_t wait_ms = directory->config->redis.timeout_ms;

	if (wait_ms > DIRECTORY_RETIRE_MS) {
		wait_ms = DIRECTORY_RETIRE_MS;
	}
	timeout_add(&directory->retirements, &directory->node.retire_due,
		    timeouts_now_ms() + wait_ms);
	if (store_is_ready(directory->store)) {
		directory_node_retire(directory);
	}
}

static void on_retire_settled(struct timeout *settled)
{
	struct directory_node *node = container_of(settled, struct directory_node, retire_settled);

	begin_retirement(container_of(node, struct directory, node));
}

/* A move that waits for the word of this process goes on when the registration is gone: the
 * backends must have noticed by then that the sessions are. */
void directory_retire(struct directory *directory, void (*retired)(void *owner), void *owner)
{
	struct directory_node *node = &directory->node;
	uint64_t settled_ms = atomic_load_explicit(&directory->settled_ms, memory_order_relaxed);

	if (!atomic_load(&directory->open)) {
		retired(owner);
		return;
	}
	node->retired = retired;
	node->owner = owner;
	if (settled_ms > timeouts_now_ms()) {
		timeout_add(&directory->settlements, &node->retire_settled, settled_ms);
	} else {
		begin_retirement(directory);
	}
}

void directory_node_start(struct directory *directory)
{
	timeout_list_init(&directory->settlements, directory->house.timeouts, on_retire_settled);
	timeout_list_init(&directory->retirements, directory->house.timeouts, on_retire_due);
}

void directory_node_stop(struct directory *directory)
{
	store_cancel(&directory->node.question);
	store_cancel(&directory->node.check);
	store_cancel(&directory->node.retirement);
	timeout_remove(&directory->node.retire_settled);
	timeout_remove(&directory->node.retire_due);
	timeout_list_done(&directory->settlements);
	timeout_list_done(&directory->retirements);
}
