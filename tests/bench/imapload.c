/* SPDX-License-Identifier: Apache-2.0
 *
 * Many mail users on one core: logs in, idles, downloads, uploads or asks NOOP as fast as it can
 * (closed loop) or at a fixed rate (open loop: latency counts from the moment at which the
 * operation was due, so that a slow server cannot slow down the question). Reads the CPU accounts
 * of the processes it is told of at both ends of the measured window. Prints one line of JSON.
 */
#include "bench/load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(void)
{
	fputs("usage: imapload --mode login|idle|download|upload|noop --port N [--address A]\n"
	      "  --sessions N      sessions, or logins at once             (32)\n"
	      "  --concurrency N   logins at once while sessions are opened (32)\n"
	      "  --rate R          open loop: operations per second        (closed loop)\n"
	      "  --seconds S --warmup S   the measured window              (3, 0.5)\n"
	      "  --bytes N         size of one download or upload          (64 MiB)\n"
	      "  --resume          login: resume with the last ticket\n"
	      "  --plain           no TLS\n"
	      "  --users N         bench0 .. benchN-1                      (1)\n"
	      "  --prefix TEXT     what stands in the place of bench\n"
	      "  --announce        say `measuring` when the window begins\n"
	      "  --sources N       from 127.0.0.1 .. 127.0.0.N             (8)\n"
	      "  --account NAME=PID[,PID...]   whose CPU time to report\n"
	      "idle: says `ready`, waits for a line, opens all, reports, waits for a line, and "
	      "ends\n"
	      "with how many of them have ended by themselves, and when the last did.\n",
	      stderr);
	exit(2);
}

static void option_mode(struct options *options, const char *name)
{
	for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
		if (strcmp(mode_names[i], name) == 0) {
			options->mode = (enum mode)i;
			return;
		}
	}
	usage();
}

static void option_account(struct load *load, char *text)
{
	char *equals = strchr(text, '=');
	struct account *account = &load->accounts[load->account_count];

	if (equals == NULL || load->account_count == ACCOUNTS_MAX) {
		usage();
	}
	snprintf(account->name, sizeof(account->name), "%.*s", (int)(equals - text), text);
	account->pids = equals + 1;
	load->account_count++;
}

static double option_decimal(const char *text)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end != '\0' || number < 0) {
		usage();
	}
	return number;
}

static unsigned option_number(const char *text)
{
	return (unsigned)option_decimal(text);
}

static void option_set(struct load *load, int letter)
{
	struct options *options = &load->options;

	switch (letter) {
	case 'm':
		option_mode(options, optarg);
		break;
	case 'A':
		options->address.sin_addr.s_addr = inet_addr(optarg);
		break;
	case 'p':
		options->address.sin_port = htons((uint16_t)option_number(optarg));
		break;
	case 's':
		options->sessions = option_number(optarg);
		break;
	case 'c':
		options->concurrency = option_number(optarg);
		break;
	case 'u':
		options->users = option_number(optarg);
		break;
	case 'o':
		options->sources = option_number(optarg);
		break;
	case 'r':
		options->rate = option_decimal(optarg);
		break;
	case 'w':
		options->warmup = option_decimal(optarg);
		break;
	case 't':
		options->seconds = option_decimal(optarg);
		break;
	case 'b':
		options->bytes = (uint64_t)option_decimal(optarg);
		break;
	case 'x':
		options->prefix = optarg;
		break;
	case 'n':
		options->announce = true;
		break;
	case 'R':
		options->resume = true;
		break;
	case 'P':
		options->tls = false;
		break;
	case 'a':
		option_account(load, optarg);
		break;
	default:
		usage();
	}
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{"mode", 1, NULL, 'm'},
		{"address", 1, NULL, 'A'},
		{"port", 1, NULL, 'p'},
		{"sessions", 1, NULL, 's'},
		{"concurrency", 1, NULL, 'c'},
		{"users", 1, NULL, 'u'},
		{"sources", 1, NULL, 'o'},
		{"rate", 1, NULL, 'r'},
		{"warmup", 1, NULL, 'w'},
		{"seconds", 1, NULL, 't'},
		{"bytes", 1, NULL, 'b'},
		{"resume", 0, NULL, 'R'},
		{"plain", 0, NULL, 'P'},
		{"account", 1, NULL, 'a'},
		{"prefix", 1, NULL, 'x'},
		{"announce", 0, NULL, 'n'},
		{NULL, 0, NULL, 0},
	};
	struct load *load = calloc(1, sizeof(*load));
	int letter;

	if (load == NULL) {
		load_fatal("no memory");
	}
	load->options = (struct options){
		.tls = true,
		.sessions = 32,
		.concurrency = 32,
		.users = 1,
		.prefix = "bench",
		.sources = 8,
		.warmup = 0.5,
		.seconds = 3,
		.bytes = 64 << 20,
		.address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}},
	};
	while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
		option_set(load, letter);
	}
	if (load->options.address.sin_port == 0 || load->options.sessions == 0 ||
	    load->options.concurrency == 0 || load->options.users == 0 ||
	    load->options.sources == 0) {
		usage();
	}
	load_start(load);
	ev_run(load->loop, 0);
	load_fatal("nothing left to do");
}
