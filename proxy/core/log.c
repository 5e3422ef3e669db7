/* SPDX-License-Identifier: Apache-2.0
 *
 * The queue of the log and the thread that empties it. The one writable global of this room is
 * here: a log that everybody had to be handed would be in every signature of the house.
 *
 * Lines are gathered in one half of the queue while the other is written, so a line is copied once
 * and the lock is held for that copy alone.
 */
#include "core/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "log_internal.h"

#define HALF_MAX (LOG_QUEUE_MAX / 2)

/* A reader that takes nothing is asked again so often, and given up after so many times: when the
 * thread is to end, or when there is none. Otherwise the thread waits for ever. */
#define WAIT_MS   100
#define WAITS_MAX 10

static struct {
	pthread_mutex_t mutex; /* guards running, filling, length, lost */
	pthread_cond_t filled;
	pthread_t thread;
	_Atomic unsigned level;
	_Atomic unsigned format;
	atomic_bool closing;
	bool running;
	unsigned filling; /* the half that takes lines */
	size_t length;
	uint64_t lost; /* lines that found it full */
	char halves[2][HALF_MAX];
} journal = {
	.mutex = PTHREAD_MUTEX_INITIALIZER,
	.filled = PTHREAD_COND_INITIALIZER,
	.level = CONFIG_LOG_INFO,
	.format = CONFIG_LOG_LOGFMT,
};

/* struct writer is the state of whoever writes to standard error. */
struct writer {
	bool patient;   /* waits for ever unless the log is closing */
	unsigned waits; /* that were in vain while impatient */
	bool torn;      /* the last line went out in part */
	uint64_t lost;  /* lines not yet owned up to */
};

/* One pause of at most WAIT_MS; false when patience is over. */
static bool writer_wait(struct writer *writer, short events)
{
	struct pollfd poll_fd = {.fd = STDERR_FILENO, .events = events};

	if (poll(&poll_fd, events == 0 ? 0 : 1, WAIT_MS) > 0) {
		return true;
	}
	if (!writer->patient || atomic_load(&journal.closing)) {
		writer->waits++;
	}
	return writer->waits < WAITS_MAX;
}

/* Writes at most PIPE_BUF bytes when the reader has room for them, so that write(2) does not block
 * although standard error may be a blocking pipe. Returns how many bytes went out. */
static size_t writer_put(struct writer *writer, const char *bytes, size_t length)
{
	size_t done = 0;

	while (done < length && writer->waits < WAITS_MAX) {
		struct pollfd poll_fd = {.fd = STDERR_FILENO, .events = POLLOUT};
		ssize_t count;

		if (poll(&poll_fd, 1, 0) <= 0) {
			writer_wait(writer, POLLOUT);
			continue;
		}
		count = write(STDERR_FILENO, bytes + done, length - done);
		if (count > 0) {
			done += (size_t)count;
		} else if (count < 0 && errno == EAGAIN) {
			writer_wait(writer, 0); /* room, but not for this much */
		} else if (count == 0 || errno != EINTR) {
			break;
		}
	}
	return done;
}

static uint64_t count_lines(const char *bytes, size_t length)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < length; i++) {
		lines += bytes[i] == '\n' ? 1 : 0;
	}
	return lines;
}

/* Writes whole lines of together at most LOG_LINE_MAX bytes, and counts those that failed. A line
 * that went out in part is ended before the next one begins. */
static void writer_lines(struct writer *writer, const char *lines, size_t length)
{
	size_t done;

	if (writer->torn && writer_put(writer, "\n", 1) == 1) {
		writer->torn = false;
	}
	done = writer->torn ? 0 : writer_put(writer, lines, length);
	writer->torn = writer->torn || (done > 0 && lines[done - 1] != '\n');
	writer->lost += count_lines(lines + done, length - done);
}

/* Owns up to lost lines. A failure to do so must not count itself. */
static void writer_own_up(struct writer *writer)
{
	char line[LOG_LINE_MAX];
	uint64_t lost = writer->lost;
	struct log_field field = log_number("lost", (int64_t)lost);
	struct log_event event = {
		.level = CONFIG_LOG_WARN, .event = "log lines lost", .fields = &field, .count = 1};

	if (lost == 0) {
		return;
	}
	clock_gettime(CLOCK_REALTIME, &event.time);
	writer->lost = 0;
	writer_lines(writer, line, log_line(line, atomic_load(&journal.format), &event));
	if (writer->lost > 0) {
		writer->lost = lost;
	}
}

/* The largest run of whole lines that one write may take. */
static size_t run_length(const char *lines, size_t length)
{
	const char *end;

	if (length <= LOG_LINE_MAX) {
		return length;
	}
	end = memrchr(lines, '\n', LOG_LINE_MAX);
	invariant(end != NULL);
	return (size_t)(end - lines) + 1;
}

static void writer_half(struct writer *writer, const char *lines, size_t length)
{
	writer_own_up(writer);
	while (length > 0) {
		size_t run = run_length(lines, length);

		writer_lines(writer, lines, run);
		lines += run;
		length -= run;
	}
}

/* Takes the filled half; false when there is none and none will come. */
static bool take_half(const char **lines, size_t *length, uint64_t *lost)
{
	pthread_mutex_lock(&journal.mutex);
	while (journal.length == 0 && journal.lost == 0 && !atomic_load(&journal.closing)) {
		pthread_cond_wait(&journal.filled, &journal.mutex);
	}
	*lines = journal.halves[journal.filling];
	*length = journal.length;
	*lost = journal.lost;
	journal.filling ^= 1;
	journal.length = 0;
	journal.lost = 0;
	pthread_mutex_unlock(&journal.mutex);
	return *length > 0 || *lost > 0;
}

static void *run(void *argument)
{
	struct writer writer = {.patient = true};
	const char *lines;
	size_t length;
	uint64_t lost;

	(void)argument;
	while (take_half(&lines, &length, &lost)) {
		writer_half(&writer, lines, length);
		writer.lost += lost; /* they came behind the lines just written */
		writer_own_up(&writer);
	}
	return NULL;
}

void log_open(enum config_log_level level, enum config_log_format format)
{
	sigset_t all;
	sigset_t old;

	atomic_store(&journal.level, level);
	atomic_store(&journal.format, format);
	atomic_store(&journal.closing, false);
	sigfillset(&all); /* signals are for the main thread; SIGPIPE is for nobody */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_mutex_lock(&journal.mutex);
	journal.running = pthread_create(&journal.thread, NULL, run, NULL) == 0;
	pthread_mutex_unlock(&journal.mutex);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void log_close(void)
{
	bool was_running;

	pthread_mutex_lock(&journal.mutex);
	was_running = journal.running;
	journal.running = false;
	atomic_store(&journal.closing, true);
	pthread_cond_signal(&journal.filled);
	pthread_mutex_unlock(&journal.mutex);
	if (was_running) {
		pthread_join(journal.thread, NULL);
	}
}

/* False when there is no thread to take the line. */
static bool enqueue(const char *line, size_t length)
{
	bool running;

	pthread_mutex_lock(&journal.mutex);
	running = journal.running;
	if (running && length > HALF_MAX - journal.length) {
		journal.lost++;
	} else if (running) {
		memcpy(journal.halves[journal.filling] + journal.length, line, length);
		journal.length += length;
		pthread_cond_signal(&journal.filled);
	}
	pthread_mutex_unlock(&journal.mutex);
	return running;
}

void log_write(enum config_log_level level, const char *event, const struct log_field *fields,
	       size_t count)
{
	char line[LOG_LINE_MAX];
	struct log_event full = {.level = level, .event = event, .fields = fields, .count = count};
	size_t length;

	if (level > atomic_load_explicit(&journal.level, memory_order_relaxed)) {
		return;
	}
	clock_gettime(CLOCK_REALTIME, &full.time);
	length = log_line(line, atomic_load(&journal.format), &full);
	if (!enqueue(line, length)) {
		struct writer writer = {0};

		writer_lines(&writer, line, length);
	}
}
