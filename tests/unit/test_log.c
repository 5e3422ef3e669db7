/* SPDX-License-Identifier: Apache-2.0
 *
 * The log: lines whatever the fields hold, a reader that is slow, absent or full, many writers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../proxy/core/log_internal.h"
#include "core/log.h"

static const struct timespec moment = {.tv_sec = 1700000000, .tv_nsec = 7999999};

/* A line as a string without its newline, which is checked. */
static const char *line_of(enum config_log_format format, const struct log_field *fields,
			   size_t count)
{
	static char line[LOG_LINE_MAX + 1];
	struct log_event event = {moment, CONFIG_LOG_INFO, "session ended", fields, count};
	size_t length;

	memset(line, '#', sizeof(line));
	length = log_line(line, format, &event);
	assert_in_range(length, 1, LOG_LINE_MAX);
	assert_int_equal(line[length - 1], '\n');
	assert_int_equal(line[length], '#');
	line[length - 1] = '\0';
	assert_null(memchr(line, '\n', length - 1));
	return line;
}

#define LOGFMT_START "time=2023-11-14T22:13:20.007Z level=info event=\"session ended\""
#define JSON_START \
	"{\"time\":\"2023-11-14T22:13:20.007Z\",\"level\":\"info\",\"event\":\"session ended\""

static void test_fields(void **state)
{
	const struct log_field fields[] = {
		log_text("user", "alice"),
		log_text("left_out", NULL),
		log_number("bytes", INT64_MIN),
		log_flag("resumed", true),
		log_flag("plain", false),
	};

	(void)state;
	assert_string_equal(line_of(CONFIG_LOG_LOGFMT, fields, 5),
			    LOGFMT_START " user=alice bytes=-9223372036854775808 resumed=true "
					 "plain=false");
	assert_string_equal(line_of(CONFIG_LOG_JSON, fields, 5),
			    JSON_START ",\"user\":\"alice\",\"bytes\":-9223372036854775808,"
				       "\"resumed\":true,\"plain\":false}");
	assert_string_equal(line_of(CONFIG_LOG_LOGFMT, NULL, 0), LOGFMT_START);
	assert_string_equal(line_of(CONFIG_LOG_JSON, NULL, 0), JSON_START "}");
}

static void test_escapes(void **state)
{
	static const struct {
		const char *text;
		const char *logfmt;
		const char *json;
	} rows[] = {
		{"", "\"\"", "\"\""},
		{"plain-._~:/@+", "plain-._~:/@+", "\"plain-._~:/@+\""},
		{"two words", "\"two words\"", "\"two words\""},
		{"a=b", "\"a=b\"", "\"a=b\""},
		{"say \"hi\"", "\"say \\\"hi\\\"\"", "\"say \\\"hi\\\"\""},
		{"back\\slash", "\"back\\\\slash\"", "\"back\\\\slash\""},
		{"x\r\ny", "\"x\\x0D\\x0Ay\"", "\"x\\u000D\\u000Ay\""},
		{"\x1B[31m", "\"\\x1B[31m\"", "\"\\u001B[31m\""},
		{"\x7F\x80\x9F\xFF", "\"\\x7F\\x80\\x9F\\xFF\"",
		 "\"\\u007F\\u0080\\u009F\\u00FF\""},
		{"\xC3\xA9", "\"\\xC3\\xA9\"", "\"\\u00C3\\u00A9\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct log_field field = log_text("v", rows[i].text);
		const char *line = line_of(CONFIG_LOG_LOGFMT, &field, 1);

		assert_string_equal(strstr(line, " v=") + 3, rows[i].logfmt);
		line = line_of(CONFIG_LOG_JSON, &field, 1);
		line = strstr(line, ",\"v\":") + 5;
		assert_int_equal(strncmp(line, rows[i].json, strlen(rows[i].json)), 0);
		assert_string_equal(line + strlen(rows[i].json), "}");
	}
}

/* The limit is of the escaped value, and a cut never splits an escape. */
static void test_value_limit(void **state)
{
	char text[LOG_VALUE_MAX + 2];
	char wanted[LOG_VALUE_MAX + 1];
	struct log_field field = log_text("v", text);

	(void)state;
	memset(text, 'x', sizeof(text));
	text[LOG_VALUE_MAX] = '\0';
	assert_string_equal(strstr(line_of(CONFIG_LOG_LOGFMT, &field, 1), " v=") + 3, text);
	text[LOG_VALUE_MAX] = 'x';
	text[LOG_VALUE_MAX + 1] = '\0';
	memset(wanted, 'x', LOG_VALUE_MAX);
	memcpy(wanted + LOG_VALUE_MAX - 3, "...", 4);
	assert_string_equal(strstr(line_of(CONFIG_LOG_LOGFMT, &field, 1), " v=") + 3, wanted);

	for (size_t fill = LOG_VALUE_MAX - 12; fill < LOG_VALUE_MAX; fill++) {
		const char *value;

		memset(text, 'x', fill);
		strcpy(text + fill, "\x01\x02");
		value = strstr(line_of(CONFIG_LOG_JSON, &field, 1), "\"v\":\"") + 5;
		value += strspn(value, "x");
		if (fill + 12 == LOG_VALUE_MAX) {
			assert_string_equal(value, "\\u0001\\u0002\"}");
		} else if (fill + 9 <= LOG_VALUE_MAX) {
			assert_string_equal(value, "\\u0001...\"}");
		} else {
			assert_string_equal(value, "...\"}");
		}
	}
}

static void test_line_limit(void **state)
{
	char text[LOG_VALUE_MAX + 1];
	struct log_field fields[12];
	const char *line;

	(void)state;
	memset(text, 'x', LOG_VALUE_MAX);
	text[LOG_VALUE_MAX] = '\0';
	for (size_t i = 0; i < 12; i++) {
		fields[i] = log_text("v", text);
	}
	line = line_of(CONFIG_LOG_LOGFMT, fields, 12);
	assert_string_equal(line + strlen(line) - 10, "x cut=true");
	line = line_of(CONFIG_LOG_JSON, fields, 12);
	assert_string_equal(line + strlen(line) - 13, "\",\"cut\":true}");
	/* Nothing follows what was cut, though it would fit. */
	fields[10] = log_text("tiny", "t");
	assert_null(strstr(line_of(CONFIG_LOG_JSON, fields, 12), "tiny"));
	/* At the limit, and one past it. */
	for (size_t size = 0; size <= LOG_VALUE_MAX; size++) {
		char last[LOG_VALUE_MAX + 1];
		size_t length;

		snprintf(last, sizeof(last), "%.*s", (int)size, text);
		fields[7] = log_text("w", last);
		line = line_of(CONFIG_LOG_LOGFMT, fields, 8);
		length = strlen(line);
		assert_true(strstr(line, " cut=true") != NULL || strstr(line, " w=") != NULL);
		assert_true(strstr(line, " cut=true") == NULL || strstr(line, " w=") == NULL);
		assert_true(length < LOG_LINE_MAX);
	}
}

/* Walks a JSON string; false when a byte may not stand in one. */
static const char *json_string(const char *at)
{
	if (*at++ != '"') {
		return NULL;
	}
	while (*at != '"') {
		if (*at < 0x20 || *at >= 0x7F) {
			return NULL;
		}
		if (*at++ != '\\') {
			continue;
		}
		if (*at == 'u') {
			if (strspn(at + 1, "0123456789ABCDEF") < 4) {
				return NULL;
			}
			at += 5;
		} else if (*at == '"' || *at == '\\') {
			at++;
		} else {
			return NULL;
		}
	}
	return at + 1;
}

static void test_random_bytes(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		char text[700];
		size_t size = (size_t)rand_r(&seed) % sizeof(text);
		struct log_field fields[2] = {log_text("v", text), log_number("n", round)};
		char tail[32];
		const char *end;

		for (size_t i = 0; i + 1 < size; i++) {
			text[i] = (char)(rand_r(&seed) % 255 + 1);
		}
		text[size > 0 ? size - 1 : 0] = '\0';
		snprintf(tail, sizeof(tail), ",\"n\":%d}", round);
		end = json_string(strstr(line_of(CONFIG_LOG_JSON, fields, 2), "\"v\":") + 4);
		if (end == NULL) {
			fail_msg("not JSON in round %d", round);
		}
		assert_string_equal(end, tail);
	}
}

static int stderr_saved;

static void stderr_is(int fd)
{
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
}

static int setup(void **state)
{
	(void)state;
	stderr_saved = dup(STDERR_FILENO);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dup2(stderr_saved, STDERR_FILENO);
	close(stderr_saved);
	return 0;
}

/* Everything that a pipe still gives, or a file holds, as a string that the caller frees. The
 * position of a file is left alone: the log writes with it. */
static char *read_whole(int fd)
{
	size_t length = 0;
	size_t room = 1 << 16;
	char *text = malloc(room);
	bool pipe_end = lseek(fd, 0, SEEK_CUR) < 0;
	ssize_t count;

	while ((count = pipe_end ? read(fd, text + length, room - length - 1)
				 : pread(fd, text + length, room - length - 1, (off_t)length)) >
	       0) {
		length += (size_t)count;
		if (room - length < 4096) {
			room *= 2;
			text = realloc(text, room);
		}
	}
	text[length] = '\0';
	return text;
}

static int scratch_file(void)
{
	char path[] = "/tmp/test_log.XXXXXX";
	int file = mkstemp(path);

	assert_true(file >= 0);
	unlink(path);
	return file;
}

static void test_levels(void **state)
{
	int file = scratch_file();
	char *text;

	(void)state;
	stderr_is(file);
	log_info("direct before", log_number("n", 1));
	log_debug("hidden before", log_number("n", 1));
	log_open(CONFIG_LOG_WARN, CONFIG_LOG_JSON);
	log_error("shown", log_number("n", 2));
	log_warn("shown", log_number("n", 3));
	log_info("hidden", log_number("n", 4));
	log_close();
	log_error("direct after", log_number("n", 5));
	log_open(CONFIG_LOG_DEBUG, CONFIG_LOG_LOGFMT);
	log_debug("shown", log_number("n", 6));
	log_close();
	teardown(state);
	text = read_whole(file);
	assert_null(strstr(text, "hidden"));
	assert_non_null(strstr(text, " level=info event=\"direct before\" n=1\n"));
	assert_non_null(strstr(text, "\"level\":\"error\",\"event\":\"shown\",\"n\":2}\n"));
	assert_non_null(strstr(text, "\"level\":\"warn\",\"event\":\"shown\",\"n\":3}\n"));
	assert_non_null(strstr(text, "\"event\":\"direct after\",\"n\":5}\n"));
	assert_non_null(strstr(text, " level=debug event=\"shown\" n=6\n"));
	free(text);
	close(file);
	setup(state);
}

#define WRITERS 4
#define LINES_EACH 500

static void *write_many(void *argument)
{
	for (int i = 0; i < LINES_EACH; i++) {
		log_info("tick", log_number("writer", (intptr_t)argument), log_number("n", i));
	}
	return NULL;
}

/* Every line whole, each writer's in order, none lost while the queue has room. */
static void test_many_writers(void **state)
{
	int file = scratch_file();
	pthread_t threads[WRITERS];
	int next[WRITERS] = {0};
	char *text;
	int lines = 0;

	(void)state;
	stderr_is(file);
	log_open(CONFIG_LOG_INFO, CONFIG_LOG_LOGFMT);
	for (intptr_t i = 0; i < WRITERS; i++) {
		pthread_create(&threads[i], NULL, write_many, (void *)i);
	}
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(threads[i], NULL);
	}
	log_close();
	teardown(state);
	text = read_whole(file);
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		int writer;
		int n;

		assert_int_equal(sscanf(line, "time=%*s level=info event=\"tick\" writer=%d n=%d",
					&writer, &n), 2);
		assert_in_range(writer, 0, WRITERS - 1);
		assert_int_equal(n, next[writer]++);
		lines++;
	}
	assert_int_equal(lines, WRITERS * LINES_EACH);
	free(text);
	close(file);
	setup(state);
}

/* What `lost=` says over all lines, and how many lines there are that do not say it. */
static void count_told(char *text, uint64_t *lines, uint64_t *lost)
{
	*lines = 0;
	*lost = 0;
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		const char *told = strstr(line, " level=warn event=\"log lines lost\" lost=");

		assert_int_equal(strncmp(line, "time=", 5), 0);
		if (told != NULL) {
			*lost += strtoull(strrchr(told, '=') + 1, NULL, 10);
		} else {
			++*lines;
		}
	}
}

struct drain {
	int fd;
	char *text;
};

static void *drain_pipe(void *argument)
{
	struct drain *drain = argument;

	drain->text = read_whole(drain->fd);
	return NULL;
}

/* A pipe that nobody reads: log_write goes on, the queue is bounded, and once there is a reader
 * every line was either written or owned up to. */
static void slow_reader(bool blocking)
{
	enum { COUNT = 20000 };
	char text[400];
	struct drain drain;
	pthread_t thread;
	int ends[2];
	uint64_t lines;
	uint64_t lost;

	assert_int_equal(pipe2(ends, blocking ? 0 : O_NONBLOCK), 0);
	fcntl(ends[0], F_SETFL, 0);
	drain.fd = ends[0];
	stderr_is(ends[1]);
	close(ends[1]);
	log_open(CONFIG_LOG_INFO, CONFIG_LOG_LOGFMT);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < COUNT; i++) {
		log_info("flood", log_text("text", text));
	}
	pthread_create(&thread, NULL, drain_pipe, &drain);
	log_close();
	dup2(stderr_saved, STDERR_FILENO); /* the last writing end: the reader ends */
	pthread_join(thread, NULL);
	close(ends[0]);
	count_told(drain.text, &lines, &lost);
	free(drain.text);
	assert_int_equal(lines + lost, COUNT);
	assert_true(lost > 0);
	assert_true(lines * 400 < LOG_QUEUE_MAX + (1 << 17)); /* and what the pipe held */
	assert_true(lines * 480 > LOG_QUEUE_MAX / 2);
}

static void test_slow_reader(void **state)
{
	(void)state;
	slow_reader(true);
	slow_reader(false);
}

/* A pipe that nobody ever reads does not keep the process from ending. */
static void test_no_reader(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	stderr_is(ends[1]);
	log_open(CONFIG_LOG_INFO, CONFIG_LOG_LOGFMT);
	for (int i = 0; i < 5000; i++) {
		log_info("flood", log_number("n", i));
	}
	log_close();
	log_info("direct", log_number("n", 1));
	dup2(stderr_saved, STDERR_FILENO);
	close(ends[0]);
	close(ends[1]);
}

/* Waits until the queue's thread has tried what was logged: nothing tells us but the file. */
static void wait_for(int file, const char *wanted)
{
	for (int i = 0; i < 500; i++) {
		char *text;
		bool found;

			text = read_whole(file);
		found = strstr(text, wanted) != NULL;
		free(text);
		if (found) {
			return;
		}
		poll(NULL, 0, 10);
	}
	fail_msg("never written: %s", wanted);
}

/* Lines that a full disk takes are owned up to once there is room. Nothing tells when the thread
 * has failed, so it is given more lines until it owns up; what adds up in the end is the same. */
static void test_full_disk(void **state)
{
	int full = open("/dev/full", O_WRONLY);
	int file = scratch_file();
	uint64_t logged = 0;
	uint64_t lines;
	uint64_t lost = 0;
	char *text = NULL;

	(void)state;
	assert_true(full >= 0);
	log_open(CONFIG_LOG_INFO, CONFIG_LOG_LOGFMT);
	for (int i = 1; i <= 500 && lost == 0; i++) {
		char wanted[32];

		stderr_is(full);
		for (int j = 0; j < 3; j++) {
			log_info("dropped", log_number("n", i));
		}
		poll(NULL, 0, i);
		stderr_is(file);
		log_info("kept", log_number("n", i));
		logged += 4;
		snprintf(wanted, sizeof(wanted), "event=\"kept\" n=%d\n", i);
		wait_for(file, wanted);
			text = read_whole(file);
		/* What is owed is told before the next line. */
		assert_string_equal(text + strlen(text) - strlen(wanted), wanted);
		count_told(text, &lines, &lost);
		free(text);
		assert_int_equal(lines + lost, logged);
	}
	log_close();
	assert_true(lost > 0);
	dup2(stderr_saved, STDERR_FILENO);
	close(full);
	close(file);
}

static off_t size_of(int file)
{
	struct stat status;

	assert_int_equal(fstat(file, &status), 0);
	return status.st_size;
}

static void limit_size(off_t size)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = size < 0 ? limit.rlim_max : (rlim_t)size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A line of which only a part fits is ended before the next one begins. Tried, as above, until the
 * thread has failed in time. */
static void test_torn_line(void **state)
{
	char long_text[300];
	int file = scratch_file();
	bool told = false;

	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	stderr_is(file);
	log_open(CONFIG_LOG_INFO, CONFIG_LOG_LOGFMT);
	for (int i = 1; i <= 500 && !told; i++) {
		off_t size = size_of(file) + 100;
		char wanted[32];
		char *text;

		limit_size(size);
		log_info("torn", log_text("text", long_text));
		for (int j = 0; j < 500 && size_of(file) < size; j++) {
			poll(NULL, 0, 10);
		}
		assert_int_equal(size_of(file), size);
		poll(NULL, 0, i);
		limit_size(-1);
		log_info("kept", log_number("n", i));
		snprintf(wanted, sizeof(wanted), "event=\"kept\" n=%d\n", i);
		wait_for(file, wanted);
		text = read_whole(file);
		told = strstr(text, "event=\"log lines lost\" lost=1\n") != NULL;
		for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
			assert_int_equal(strncmp(line, "time=", 5), 0);
			assert_null(strstr(line + 5, "time="));
		}
		free(text);
	}
	log_close();
	assert_true(told);
	dup2(stderr_saved, STDERR_FILENO);
	close(file);
}

static void test_closed_stderr(void **state)
{
	(void)state;
	log_open(CONFIG_LOG_INFO, CONFIG_LOG_LOGFMT);
	close(STDERR_FILENO);
	log_info("into the void", log_number("n", 1));
	log_close();
	log_info("into the void", log_number("n", 2));
	dup2(stderr_saved, STDERR_FILENO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_value_limit),
		cmocka_unit_test(test_line_limit),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_writers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed_stderr, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
