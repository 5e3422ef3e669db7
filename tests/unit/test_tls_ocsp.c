/* SPDX-License-Identifier: Apache-2.0
 *
 * OCSP responses: what they say, and which client is given which of them when.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "../../proxy/net/tls_internal.h"
#include "base/base.h"
#include "support/log_capture.h"
#include "support/made_ocsp.h"
#include "support/tls_pair.h"

#define SERIAL 77

/* --- What they say -------------------------------------------------------------------------- */

static const uint8_t serial_der[] = {2, 1, SERIAL};

static bool read_bytes(const uint8_t *bytes, size_t length, struct tls_validity *validity,
		       struct error *error)
{
	CBS response;
	CBS serial;

	CBS_init(&response, bytes, length);
	CBS_init(&serial, serial_der, sizeof(serial_der));
	return tls_ocsp_read(response, serial, validity, error);
}

#define BEGIN "20240229123456Z"
#define END   "20240307000000Z"
#define FORM  "not an OCSP response in DER"

static const struct {
	struct made_ocsp made;
	const char *words; /* NULL: it is read */
} said[] = {
	{{.singles = {{SERIAL, false, BEGIN, END}}}, NULL},
	{{.singles = {{SERIAL, true, BEGIN, END}}}, NULL},
	{{.versioned = true, .by_key = true, .singles = {{SERIAL, false, BEGIN, END}}}, NULL},
	{{.singles = {{1, false, END, BEGIN},
		      {SERIAL + 256, false, END, END},
		      {SERIAL, 0, BEGIN, END}}},
	 NULL},
	/* The first counts. */
	{{.singles = {{SERIAL, false, BEGIN, END}, {SERIAL, false, END, END}}}, NULL},
	{{.singles = {{1, false, BEGIN, NULL}, {SERIAL, false, BEGIN, END}}}, NULL},
	{{.singles = {{SERIAL, false, BEGIN, NULL}}}, "does not say until when it is valid"},
	{{.singles = {{SERIAL + 1, false, BEGIN, END}}}, "is for another certificate"},
	{{.singles = {{0}}}, "is for another certificate"},
	{{.status = 6}, "the responder refused to answer (status 6)"},
	{{.other_type = true, .singles = {{SERIAL, false, BEGIN, END}}}, FORM},
	/* Times that are none. */
	{{.singles = {{SERIAL, false, "20240229123456", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20240229123456+0100", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20240229123456.5Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "202402291234Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20240029123456Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20241329123456Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20240200123456Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20240232123456Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20240229243456Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20240229126056Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "20240229123461Z", END}}}, FORM},
	{{.singles = {{SERIAL, false, "2024022912345xZ", END}}}, FORM},
	{{.singles = {{SERIAL, false, BEGIN, "2024-03-07"}}}, FORM},
	{{.singles = {{SERIAL, false, BEGIN, ""}}}, FORM},
};

static void test_said(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_length(said); i++) {
		struct tls_validity validity = {1, 2};
		struct buffer response = {0};
		struct error error = {0};
		bool readable;

		made_ocsp_write(&response, &said[i].made);
		readable = read_bytes(buffer_bytes(&response), response.length, &validity, &error);
		assert_int_equal(readable, said[i].words == NULL);
		assert_string_equal(error.text, readable ? "" : said[i].words);
		assert_int_equal(validity.begin, readable ? 1709210096 : 1);
		assert_int_equal(validity.end, readable ? 1709769600 : 2);
		buffer_done(&response);
	}
}

/* Cut anywhere, it is none; nor is it one with something behind. */
static void test_cut(void **state)
{
	struct tls_validity validity;
	struct buffer response = {0};
	struct error error;

	(void)state;
	made_ocsp_write(&response, &said[0].made);
	for (size_t length = 0; length < response.length; length++) {
		/* A block of its own size, so that reading past it is seen. */
		uint8_t *bytes = malloc(length + 1);

		memcpy(bytes + 1, buffer_bytes(&response), length);
		assert_false(read_bytes(bytes + 1, length, &validity, &error));
		assert_string_equal(error.text, FORM);
		free(bytes);
	}
	assert_true(buffer_append_byte(&response, 0));
	assert_false(read_bytes(buffer_bytes(&response), response.length, &validity, &error));
	buffer_done(&response);
}

/* One of another author's, with his certificate in it; and the same without nextUpdate. */
static void check_corpus(const char *name, const char *words)
{
	struct tls_validity validity = {0};
	struct error error = {0};
	uint8_t bytes[4096];
	char path[512];
	size_t length;
	FILE *file;

	snprintf(path, sizeof(path), "%.*stests/fuzz/corpus/tls_ocsp/%s",
		 (int)(strlen(__FILE__) - strlen("tests/unit/test_tls_ocsp.c")), __FILE__, name);
	file = fopen(path, "r");
	assert_non_null(file);
	length = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	assert_int_equal(read_bytes(bytes, length, &validity, &error), words == NULL);
	assert_string_equal(error.text, words != NULL ? words : "");
	assert_int_equal(validity.end - validity.begin, words == NULL ? 7 * 86400 : 0);
}

static void test_of_openssl(void **state)
{
	(void)state;
	check_corpus("openssl", NULL);
	check_corpus("openssl_without_next_update", "does not say until when it is valid");
}

/* --- Who is given which --------------------------------------------------------------------- */

struct world {
	struct tls_front front;
	struct tls_store *store;
	char *path;
};

static void write_bytes(const char *path, const void *bytes, size_t length)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	fclose(file);
}

/* A response for `serial`, valid from `begin` to `end` seconds from now: beside the file, and then
 * in its place. */
static void write_response(const struct world *world, long serial, long begin, long end)
{
	char from[MADE_OCSP_TIME_MAX];
	char to[MADE_OCSP_TIME_MAX];
	struct buffer response = {0};
	char *beside = tls_front_path(&world->front, "beside.der");

	made_ocsp_time(from, begin);
	made_ocsp_time(to, end);
	made_ocsp_write(&response, &(struct made_ocsp){.singles = {{serial, false, from, to}}});
	write_bytes(beside, buffer_bytes(&response), response.length);
	assert_int_equal(rename(beside, world->path), 0);
	buffer_done(&response);
	free(beside);
}

/* Two certificates, of which the second, "b.test", has a response. */
static void begin_world(struct world *world)
{
	buffer_done(&logged);
	tls_front_begin(&world->front);
	tls_front_add(&world->front,
		      &(struct certified_wish){.names = {"a.test"}, .serial = SERIAL});
	tls_front_add(&world->front,
		      &(struct certified_wish){.names = {"b.test"}, .serial = SERIAL});
	world->path = tls_front_path(&world->front, "ocsp.der");
	world->front.certificates[1].ocsp = world->path;
	world->store = NULL;
}

static void open_store(struct world *world)
{
	world->store = tls_store_new(&world->front.config, NULL);
	assert_non_null(world->store);
}

static void end_world(struct world *world)
{
	tls_store_free(world->store);
	free(world->path);
	tls_front_end(&world->front);
	buffer_done(&logged);
}

static void check_stapled(const struct world *world, const char *name, bool asked, bool stapled)
{
	static const uint16_t versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	for (size_t i = 0; i < array_length(versions); i++) {
		const uint8_t *response;
		struct tls_pair pair;
		size_t length;

		tls_pair_run(&pair, tls_store_context(world->store),
			     &(struct tls_pair_settings){
				     .version = versions[i], .name = name, .staple = asked});
		assert_true(pair.finished);
		SSL_get0_ocsp_response(pair.client, &response, &length);
		assert_int_equal(length != 0, stapled);
		if (stapled) {
			char bytes[1024];
			FILE *file = fopen(world->path, "r");

			assert_int_equal(fread(bytes, 1, sizeof(bytes), file), length);
			assert_memory_equal(bytes, response, length);
			fclose(file);
		}
		tls_pair_done(&pair);
	}
}

static void test_stapled(void **state)
{
	struct world world;

	(void)state;
	begin_world(&world);
	write_response(&world, SERIAL, -3600, 3600);
	open_store(&world);
	check_stapled(&world, "b.test", true, true);
	check_stapled(&world, "b.test", false, false);
	check_stapled(&world, "a.test", true, false);
	check_stapled(&world, NULL, true, false);
	assert_int_equal(logged.length, 0);
	end_world(&world);
}

#define UNUSED "OCSP response is not used"
#define AGAIN  "OCSP response is used again"

/* Each change is told once, and followed. */
static void test_refreshed(void **state)
{
	static const struct {
		long serial;
		long begin;
		long end; /* 0: no file */
		const char *words;
	} rows[] = {
		{SERIAL, -7200, 3600, AGAIN},
		{SERIAL, -7200, -3600, "is no longer valid"},
		{SERIAL, -3600, 3600, AGAIN},
		{SERIAL, 3600, 7200, "is not valid yet"},
		{SERIAL + 1, -3600, 3600, "is for another certificate"},
		{0, 0, 0, "No such file or directory"},
		{SERIAL, -3601, 3600, AGAIN},
	};
	struct world world;

	(void)state;
	begin_world(&world);
	write_response(&world, SERIAL, -3600, 0);
	open_store(&world);
	assert_int_equal(count_logged(UNUSED), 1);
	assert_int_equal(count_logged(world.path), 1);
	for (size_t i = 0; i < array_length(rows); i++) {
		bool good = strcmp(rows[i].words, AGAIN) == 0;

		buffer_done(&logged);
		if (rows[i].end != 0) {
			write_response(&world, rows[i].serial, rows[i].begin, rows[i].end);
		} else {
			unlink(world.path);
		}
		for (unsigned turn = 0; turn < 3; turn++) {
			tls_store_refresh(world.store);
			assert_int_equal(count_logged(rows[i].words), 1);
			assert_int_equal(count_logged("\n"), 1);
			check_stapled(&world, "b.test", true, good);
		}
	}
	end_world(&world);
}

/* Time passes, and the file stays. */
static void test_outlived(void **state)
{
	struct world world;
	struct tls_staple *staple;

	(void)state;
	begin_world(&world);
	write_response(&world, SERIAL, -3600, 3600);
	open_store(&world);
	check_stapled(&world, "b.test", true, true);
	staple = &world.store->certificates[1].staple;
	staple->validity.end = time(NULL);
	tls_store_refresh(world.store);
	check_stapled(&world, "b.test", true, false);
	assert_int_equal(count_logged("is no longer valid"), 1);
	staple->validity = (struct tls_validity){time(NULL) + 3600, time(NULL) + 7200};
	tls_store_refresh(world.store);
	check_stapled(&world, "b.test", true, false);
	staple->validity.begin = time(NULL);
	tls_store_refresh(world.store);
	check_stapled(&world, "b.test", true, true);
	end_world(&world);
}

static void set_time(const char *path, time_t seconds, long nanoseconds)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {seconds, nanoseconds}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void spoil(const char *path, long at)
{
	FILE *file = fopen(path, "r+");

	assert_non_null(file);
	assert_int_equal(fseek(file, at, at == 0 ? SEEK_SET : SEEK_END), 0);
	assert_int_equal(fputc('x', file), 'x');
	fclose(file);
}

#define MOMENT 1000000000

/* The same but for its inode, its size, or its time. */
static void test_changes(void **state)
{
	enum { INODE, SIZE, SECOND, NANOSECOND, CHANGES };

	(void)state;
	for (int change = 0; change < CHANGES; change++) {
		struct world world;
		char *beside;

		begin_world(&world);
		beside = tls_front_path(&world.front, "again.der");
		write_response(&world, SERIAL, -3600, 3600);
		set_time(world.path, MOMENT, 0);
		open_store(&world);
		if (change == INODE) {
			assert_int_equal(rename(world.path, beside), 0);
			write_response(&world, SERIAL, -3600, 3600);
		}
		spoil(world.path, change == SIZE ? 1 : 0);
		set_time(world.path, change == SECOND ? MOMENT + 1 : MOMENT,
			 change == NANOSECOND ? 1 : 0);
		tls_store_refresh(world.store);
		assert_int_equal(count_logged(FORM), 1);
		check_stapled(&world, "b.test", true, false);
		free(beside);
		end_world(&world);
	}
}

/* The very file may come back. */
static void test_moved_away(void **state)
{
	struct world world;
	char *away;

	(void)state;
	begin_world(&world);
	away = tls_front_path(&world.front, "away.der");
	write_response(&world, SERIAL, -3600, 3600);
	open_store(&world);
	assert_int_equal(rename(world.path, away), 0);
	tls_store_refresh(world.store);
	assert_int_equal(rename(away, world.path), 0);
	check_stapled(&world, "b.test", true, false);
	tls_store_refresh(world.store);
	check_stapled(&world, "b.test", true, true);
	free(away);
	end_world(&world);
}

static void test_size_limit(void **state)
{
	uint8_t *bytes = calloc(1, TLS_OCSP_MAX + 1);
	struct world world;

	(void)state;
	begin_world(&world);
	write_bytes(world.path, bytes, TLS_OCSP_MAX);
	open_store(&world);
	assert_int_equal(count_logged(FORM), 1);
	write_bytes(world.path, bytes, TLS_OCSP_MAX + 1);
	tls_store_refresh(world.store);
	assert_int_equal(count_logged("longer than 65536 bytes"), 1);
	end_world(&world);
	free(bytes);
}

/* At the start a file must be there; what it says is only logged. */
static void test_start(void **state)
{
	static const char *const words[] = {"No such file or directory", "Is a directory"};
	struct world world;
	struct config_certificate *certificate = &world.front.certificates[1];

	(void)state;
	begin_world(&world);
	for (size_t i = 0; i < array_length(words); i++) {
		struct error error = {0};
		char expected[320];

		certificate->ocsp = i == 0 ? world.path : world.front.folder;
		snprintf(expected, sizeof(expected), "%s: %s", certificate->ocsp, words[i]);
		assert_null(tls_store_new(&world.front.config, &error));
		assert_string_equal(error.text, expected);
		error.text[0] = '\0';
		assert_int_equal(tls_check_certificate(certificate, &error), TLS_BAD_OCSP);
		assert_string_equal(error.text, expected);
	}
	assert_int_equal(logged.length, 0);
	certificate->ocsp = world.path;
	write_bytes(world.path, "", 0);
	assert_int_equal(tls_check_certificate(certificate, NULL), TLS_LOADED);
	assert_int_equal(count_logged(FORM), 1);
	open_store(&world);
	assert_int_equal(count_logged(FORM), 2);
	end_world(&world);
}

/* --- Threads -------------------------------------------------------------------------------- */

struct visitor {
	const struct world *world;
	pthread_t thread;
};

static void *visit(void *context)
{
	const struct visitor *visitor = context;

	for (unsigned i = 0; i < 20; i++) {
		struct tls_pair pair;

		tls_pair_run(&pair, tls_store_context(visitor->world->store),
			     &(struct tls_pair_settings){.name = "b.test", .staple = true});
		assert_true(pair.finished);
		tls_pair_done(&pair);
	}
	return NULL;
}

/* For the thread sanitizer: handshakes while responses come and go. */
static void test_threads(void **state)
{
	struct visitor visitors[3];
	struct world world;

	(void)state;
	begin_world(&world);
	write_response(&world, SERIAL, -3600, 3600);
	open_store(&world);
	for (size_t i = 0; i < array_length(visitors); i++) {
		visitors[i].world = &world;
		assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
	}
	for (long i = 0; i < 100; i++) {
		write_response(&world, SERIAL + i % 2, -3600 - i, 3600);
		tls_store_refresh(world.store);
	}
	for (size_t i = 0; i < array_length(visitors); i++) {
		pthread_join(visitors[i].thread, NULL);
	}
	end_world(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_said),       cmocka_unit_test(test_cut),
		cmocka_unit_test(test_of_openssl), cmocka_unit_test(test_stapled),
		cmocka_unit_test(test_refreshed),  cmocka_unit_test(test_outlived),
		cmocka_unit_test(test_changes),    cmocka_unit_test(test_moved_away),
		cmocka_unit_test(test_size_limit), cmocka_unit_test(test_start),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("tls_ocsp", tests, NULL, NULL);
}
