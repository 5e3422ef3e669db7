/* SPDX-License-Identifier: Apache-2.0
 *
 * What a million cached routes cost in memory, and how long it takes to learn and to find one. The
 * shards are those of the directory; each measurement has a process of its own, whose heap is
 * fresh.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../proxy/routing/route_cache_internal.h"
#include "base/base.h"
#include "routing/directory.h"

#define USERS  1000000U
#define ASKED  200000U /* users who are asked for, again and again, in no order */
#define ROUNDS 20U

/* Room for all, although the hash fills some shards more than others. */
#define SHARD_ROUTES (USERS / DIRECTORY_SHARDS * 11 / 10)

#define NAME_SIZE 64

static const struct hash_key key = {{0x0123456789abcdef, 0xfedcba9876543210}};

static struct {
	struct route_texts texts;
	struct route_cache shards[DIRECTORY_SHARDS];
	char asked[ASKED][NAME_SIZE];
} bench;

static const char *const given[] = {"anna",  "jonas", "maria", "lukas", "sofia",     "felix",
				    "clara", "oscar", "elena", "david", "katharina", "maximilian"};
static const char *const family[] = {"meier",  "schmidt", "rossi",  "novak",    "jensen",
				     "garcia", "dubois",  "larsen", "kowalska", "papadopoulos"};

/* The number in the name keeps users apart. */
static void write_name(char name[NAME_SIZE], unsigned user)
{
	snprintf(name, NAME_SIZE, "%s.%s%u@example.org", given[user % array_length(given)],
		 family[user / 7 % array_length(family)], user);
}

static struct route_cache *shard_of(const char *name)
{
	return &bench.shards[hash_bytes(&key, name, strlen(name)) % DIRECTORY_SHARDS];
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The second number of the line, in pages. */
static size_t resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	char line[128] = "";
	char *second;

	if (file == NULL || fgets(line, sizeof(line), file) == NULL) {
		err(1, "/proc/self/statm");
	}
	fclose(file);
	second = strchr(line, ' ');
	if (second == NULL) {
		errx(1, "/proc/self/statm: %s", line);
	}
	return strtoul(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

static void begin(void)
{
	const struct route_cache_limits limits = {.routes_max = SHARD_ROUTES,
						  .fresh_ms = 60000,
						  .unknown_ms = 10000,
						  .stale_ms = 86400000};
	unsigned seed = 1;

	route_texts_init(&bench.texts, &key);
	for (unsigned i = 0; i < DIRECTORY_SHARDS; i++) {
		route_cache_init(&bench.shards[i], &limits, &key, &bench.texts);
	}
	/* Before memory is measured. */
	for (unsigned i = 0; i < ASKED; i++) {
		write_name(bench.asked[i], (unsigned)rand_r(&seed) % USERS);
	}
}

/* `routes` is 0 where each user has one of their own, with a name on the backend. Returns the bytes
 * of all names. */
static size_t learn_all(unsigned routes, const struct route_moment *moment)
{
	size_t bytes = 0;

	for (unsigned user = 0; user < USERS; user++) {
		char name[NAME_SIZE];
		char route[NAME_SIZE];
		struct route_text *text;

		write_name(name, user);
		bytes += strlen(name);
		if (routes > 0) {
			snprintf(route, sizeof(route), "mail%u", user % routes);
		} else {
			snprintf(route, sizeof(route), "mail%u?user=u%u", user % 8, user);
		}
		text = route_text_make(&bench.texts, route, strlen(route));
		if (text == NULL || !route_cache_put(shard_of(name), name, text, moment)) {
			errx(1, "out of memory");
		}
		route_text_unref(&bench.texts, text);
	}
	return bytes;
}

static double find_ns(const struct route_moment *moment)
{
	double began = now_ns();
	struct route_text *text;

	for (unsigned i = 0; i < ROUNDS * ASKED; i++) {
		const char *name = bench.asked[i % ASKED];

		if (route_cache_find(shard_of(name), name, moment, &text) != ROUTE_FRESH) {
			errx(1, "%s is not cached", name);
		}
	}
	return (now_ns() - began) / (ROUNDS * ASKED);
}

static size_t count_all(void)
{
	size_t count = 0;

	for (unsigned i = 0; i < DIRECTORY_SHARDS; i++) {
		count += route_cache_count(&bench.shards[i]);
	}
	return count;
}

static void measure(const char *name, unsigned routes)
{
	const struct route_moment moment = {.now_ms = 1000000, .epoch = 1};
	size_t before;
	size_t grown;
	size_t bytes;
	double began;
	double learnt_ns;

	begin();
	before = resident_bytes();
	began = now_ns();
	bytes = learn_all(routes, &moment);
	learnt_ns = (now_ns() - began) / USERS;
	grown = resident_bytes() - before;
	if (count_all() != USERS) {
		errx(1, "%zu of %u routes are cached", count_all(), USERS);
	}
	printf("route cache, %s: %u users (names of %.1f octets) %.1f MiB, %.0f octets each; "
	       "learnt in %.0f ns, found in %.0f ns\n",
	       name, USERS, (double)bytes / USERS, (double)grown / (1 << 20), (double)grown / USERS,
	       learnt_ns, find_ns(&moment));
}

static void measure_apart(const char *name, unsigned routes)
{
	pid_t child = fork();
	int status = 1;

	if (child < 0) {
		err(1, "fork");
	}
	if (child == 0) {
		measure(name, routes);
		exit(0);
	}
	if (waitpid(child, &status, 0) != child || status != 0) {
		errx(1, "%s: no figure", name);
	}
}

int main(void)
{
	measure_apart("8 routes", 8);
	measure_apart("a route for each user", 0);
	return 0;
}
