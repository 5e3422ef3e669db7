/* SPDX-License-Identifier: Apache-2.0
 *
 * What a login of a cached user costs in the directory: time and system calls of entering and
 * leaving, with a million users cached. Redis is not asked for that; for learning the users, a
 * store that answers at once stands in for it here.
 */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ev.h>

#include "../../proxy/routing/store_internal.h"
#include "base/base.h"
#include "core/config.h"
#include "core/log.h"
#include "core/metrics.h"
#include "net/stream_loop.h"
#include "net/timeouts.h"
#include "routing/directory.h"
#include "routing/pool.h"
#include "support/config_text.h"

#define USERS  1000000U
#define BATCH  500U     /* users who are learnt at a time */
#define ASKED  200000U  /* users who come, in no order */
#define TIMED  4000000U /* logins */
#define TRACED 100000U  /* logins whose system calls are counted */

#define NAME_SIZE 64
#define ROUTE     "mail1"

#define CONFIGURATION                                                                              \
	CONFIG_TEXT_LISTENER "[routing]\nsource = \"redis\"\ncache_routes = 1100000\n"             \
			     "[[backend]]\nname = \"" ROUTE "\"\naddress = \"127.0.0.1:143\"\n"

static struct {
	struct stream_loop shared;
	struct timeouts timeouts;
	struct metrics metrics;
	struct directory *directory;
	struct directory_desk desk;
	struct stay stays[BATCH];
	unsigned answers;
	char asked[ASKED][NAME_SIZE];
} bench;

/* --- A store that knows everybody ----------------------------------------------------------- */

struct store {
	struct store_settings settings;
};

static struct store the_store;

struct store *store_new(const struct store_settings *settings)
{
	the_store.settings = *settings;
	return &the_store;
}

/* Scripts succeed; no key of gatepost's own is there. */
void store_ask(struct store *store, struct store_question *question,
	       const struct redis_command *command, size_t key, store_callback_t *callback)
{
	const char *word = command->words[key];
	struct redis_reply reply = {.kind = REDIS_REPLY_NIL};

	(void)store;
	if (strcmp(command->words[0], "EVAL") == 0) {
		reply = (struct redis_reply){.kind = REDIS_REPLY_NUMBER, .number = 1};
	} else if (strncmp(word, "gatepost:route:", strlen("gatepost:route:")) == 0) {
		reply = (struct redis_reply){
			.kind = REDIS_REPLY_TEXT, .text = ROUTE, .length = strlen(ROUTE)};
	}
	question->pending = NULL;
	callback(question, &reply);
}

bool store_is_cluster(const struct store *store)
{
	(void)store;
	return false;
}

bool store_is_ready(const struct store *store)
{
	return store == &the_store;
}

bool store_is_watching(const struct store *store)
{
	return store == &the_store;
}

void store_cancel(struct store_question *question)
{
	question->pending = NULL;
}

void store_free(struct store *store)
{
	(void)store;
}

/* --- The worker ----------------------------------------------------------------------------- */

static void on_answered(struct stay *stay, const struct directory_answer *answer)
{
	(void)stay;
	if (answer->verdict != DIRECTORY_ROUTE || answer->stale) {
		errx(1, "no route: %s", answer->why != NULL ? answer->why : "unknown or stale");
	}
	bench.answers++;
}

static void on_stay(struct stay *stay)
{
	(void)stay;
	errx(1, "somebody is on hold");
}

static void on_changed(struct stay *stay, const struct directory_answer *answer)
{
	(void)stay;
	(void)answer;
}

static void on_drains(struct directory_desk *desk)
{
	(void)desk;
}

static void begin(void)
{
	static const struct stay_events events = {
		.answered = on_answered,
		.parked = on_stay,
		.released = on_stay,
		.changed = on_changed,
		.held = on_stay,
		.drains_changed = on_drains,
	};
	struct ev_loop *loop = ev_default_loop(EVFLAG_NOENV | EVBACKEND_EPOLL);
	struct config *config = config_text_good(CONFIGURATION);
	struct directory_house house = {
		.shared = &bench.shared, .timeouts = &bench.timeouts, .metrics = &bench.metrics};
	struct error error = {0};
	struct pool *pool = pool_new(config, &error);

	log_open(CONFIG_LOG_ERROR, CONFIG_LOG_LOGFMT);
	timeouts_init(&bench.timeouts, loop);
	bench.directory = pool != NULL ? directory_new(config, pool) : NULL;
	if (bench.directory == NULL || !stream_loop_init(&bench.shared, loop, 0) ||
	    !directory_start(bench.directory, &house, &error)) {
		errx(1, "no directory: %s", error.text);
	}
	directory_attach(bench.directory, &bench.desk, loop, &events, &bench.metrics);
	the_store.settings.events->ready(the_store.settings.owner);
	the_store.settings.events->watching(the_store.settings.owner);
}

static void write_name(char name[NAME_SIZE], unsigned user)
{
	snprintf(name, NAME_SIZE, "given.family%u@example.org", user);
}

static void learn_all(void)
{
	char name[NAME_SIZE];

	for (unsigned user = 0; user < USERS; user += BATCH) {
		bench.answers = 0;
		for (unsigned i = 0; i < BATCH; i++) {
			write_name(name, user + i);
			directory_enter(&bench.desk, &bench.stays[i], name);
		}
		while (bench.answers < BATCH) {
			ev_run(bench.shared.loop, EVRUN_ONCE);
		}
		for (unsigned i = 0; i < BATCH; i++) {
			directory_leave(&bench.stays[i], true);
		}
	}
}

/* Nothing of it waits for the loop. */
static void come_and_go(const char *user)
{
	unsigned before = bench.answers;

	directory_enter(&bench.desk, &bench.stays[0], user);
	if (bench.answers != before + 1) {
		errx(1, "%s is not cached", user);
	}
	directory_leave(&bench.stays[0], true);
}

/* --- Measuring ------------------------------------------------------------------------------ */

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double login_ns(unsigned users)
{
	double began = now_ns();

	for (unsigned i = 0; i < TIMED; i++) {
		come_and_go(bench.asked[i % users]);
	}
	return (now_ns() - began) / TIMED;
}

/* getppid marks where it begins and ends. */
static void be_traced(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
		_exit(2);
	}
	raise(SIGSTOP);
	syscall(SYS_getppid);
	for (unsigned i = 0; i < TRACED; i++) {
		come_and_go(bench.asked[i]);
	}
	syscall(SYS_getppid);
	_exit(0);
}

/* Runs the child to its next entry into the kernel; false when it has ended. */
static bool next_call(pid_t child, uint64_t *number)
{
	struct __ptrace_syscall_info info = {0};
	int status;

	do {
		if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0 ||
		    waitpid(child, &status, 0) != child || !WIFSTOPPED(status) ||
		    ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) <= 0) {
			return false;
		}
	} while (info.op != PTRACE_SYSCALL_INFO_ENTRY);
	*number = info.entry.nr;
	return true;
}

/* -1 where this machine lets nobody trace. */
static int count_calls(void)
{
	pid_t child = fork();
	uint64_t number;
	int marks = 0;
	int calls = 0;
	int status;

	if (child < 0) {
		err(1, "fork");
	}
	if (child == 0) {
		be_traced();
	}
	/* Without the option, the kernel does not tell what a stop is about. */
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD) != 0) {
		return -1;
	}
	while (marks < 2 && next_call(child, &number)) {
		marks += number == SYS_getppid ? 1 : 0;
		calls += marks == 1 && number != SYS_getppid ? 1 : 0;
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return marks == 2 ? calls : -1;
}

int main(void)
{
	unsigned seed = 1;
	int calls;

	begin();
	learn_all();
	for (unsigned i = 0; i < ASKED; i++) {
		write_name(bench.asked[i], (unsigned)rand_r(&seed) % USERS);
	}
	printf("directory, a login of a cached user (enter and leave): %.0f ns of %u users in no "
	       "order, %.0f ns of 10\n",
	       login_ns(ASKED), ASKED, login_ns(10));
	calls = count_calls();
	if (calls < 0) {
		printf("directory, system calls: not counted, since nobody may trace here\n");
	} else {
		printf("directory, system calls of %u logins of cached users: %d\n", TRACED, calls);
	}
	return 0;
}
