/* SPDX-License-Identifier: Apache-2.0
 *
 * What the load generator counts, and how it says it: CPU time of the processes it was told of,
 * by the scheduler's own nanoseconds, and latencies.
 */
#include "bench/load.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const char *const mode_names[] = {"login", "idle", "download", "upload", "noop"};

void load_fatal(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("imapload: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

double now_seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* CPU seconds of all threads of one process, by the scheduler's own nanoseconds. */
static double process_cpu(long pid)
{
	char path[300];
	double total = 0;
	struct dirent *entry;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%ld/task", pid);
	directory = opendir(path);
	if (directory == NULL) {
		load_fatal("process %ld has gone", pid);
	}
	while ((entry = readdir(directory)) != NULL) {
		char line[64];
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%ld/task/%s/schedstat", pid, entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "re");
		if (file == NULL) {
			continue;
		}
		if (fgets(line, sizeof(line), file) != NULL) {
			total += (double)strtoull(line, NULL, 10) / 1e9;
		}
		fclose(file);
	}
	closedir(directory);
	return total;
}

static double account_cpu(const struct account *account)
{
	const char *at = account->pids;
	double total = 0;

	while (*at != '\0') {
		char *end;

		total += process_cpu(strtol(at, &end, 10));
		at = *end == ',' ? end + 1 : end;
	}
	return total;
}

void counts_take(struct load *load, struct counts *counts)
{
	*counts = load->now;
	counts->time = now_seconds();
	counts->cpu_self = process_cpu((long)getpid());
	for (unsigned i = 0; i < load->account_count; i++) {
		counts->cpu[i] = account_cpu(&load->accounts[i]);
	}
}

static int compare_doubles(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

static double latency_us(const struct load *load, double part)
{
	size_t rank = (size_t)ceil(part * (double)load->latency_count);

	return load->latency_count == 0 ? 0 : load->latencies[rank > 0 ? rank - 1 : 0] * 1e6;
}

void print_result(struct load *load)
{
	const struct counts *begin = &load->begin;
	const struct counts *end = &load->end;
	double seconds = end->time - begin->time;
	double operations = (double)(end->operations - begin->operations);

	qsort(load->latencies, load->latency_count, sizeof(double), compare_doubles);
	printf("{\"mode\":\"%s\",\"protocol\":\"%s\",\"sessions\":%u,\"ready\":%u,\"lost\":%u,",
	       mode_names[load->options.mode], load->protocol, load->options.sessions, load->ready,
	       load->lost);
	printf("\"seconds\":%.6f,\"operations\":%.0f,\"per_second\":%.1f,", seconds, operations,
	       operations / seconds);
	printf("\"resumed\":%llu,\"failed\":%llu,\"unclean\":%llu,\"unanswered\":%llu,",
	       (unsigned long long)(end->resumed - begin->resumed), (unsigned long long)end->failed,
	       (unsigned long long)end->unclean,
	       (unsigned long long)(load->options.rate > 0 ? load->issued - load->answered : 0));
	printf("\"bytes_in\":%llu,\"bytes_out\":%llu,",
	       (unsigned long long)(end->bytes_in - begin->bytes_in),
	       (unsigned long long)(end->bytes_out - begin->bytes_out));
	printf("\"latency_us\":{\"count\":%zu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}"
	       ",",
	       load->latency_count, latency_us(load, 0.5), latency_us(load, 0.9),
	       latency_us(load, 0.99), latency_us(load, 1.0));
	printf("\"cpu\":{\"load\":%.6f", end->cpu_self - begin->cpu_self);
	for (unsigned i = 0; i < load->account_count; i++) {
		printf(",\"%s\":%.6f", load->accounts[i].name, end->cpu[i] - begin->cpu[i]);
	}
	printf("},\"last_failure\":\"%s\"}\n", load->last_failure);
	fflush(stdout);
}

void print_lost(const struct load *load)
{
	printf("{\"lost\":%u,\"lost_last\":%.6f}\n", load->lost, load->lost_last);
	fflush(stdout);
}

void record_latency(struct load *load, double due)
{
	if (!load->measuring || due < load->begin.time) {
		return;
	}
	if (load->latency_count == load->latency_room) {
		load->latency_room = load->latency_room == 0 ? 4096 : load->latency_room * 2;
		load->latencies = realloc(load->latencies, load->latency_room * sizeof(double));
		if (load->latencies == NULL) {
			load_fatal("no memory");
		}
	}
	load->latencies[load->latency_count++] = now_seconds() - due;
	load->answered++;
}
