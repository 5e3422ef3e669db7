/* SPDX-License-Identifier: Apache-2.0
 *
 * The lookup command: a template such as "HGET mail:{domain} {local}", cut into words once, when
 * the configuration is read. What a user name contributes never becomes another word.
 */
#ifndef GATEPOST_ROUTING_LOOKUP_INTERNAL_H
#define GATEPOST_ROUTING_LOOKUP_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/buffer.h"
#include "base/error.h"
#include "core/config.h"

/* Words of a lookup command, the command itself included. */
#define LOOKUP_WORDS_MAX CONFIG_LOOKUP_WORDS_MAX

/* struct lookup is a template cut into words; zero is "no template". */
struct lookup {
	char *text; /* owned; NUL behind each word */
	const char *words[LOOKUP_WORDS_MAX];
	size_t word_count;
};

/* struct lookup_command is the command for one user: `words[i]` has `lengths[i]` bytes, which are
 * kept in `bytes`. */
struct lookup_command {
	struct buffer bytes;
	const char *words[LOOKUP_WORDS_MAX];
	size_t lengths[LOOKUP_WORDS_MAX];
	size_t word_count;
};

/* lookup_init cuts a template at its spaces. False, and `error`, when it has no word, more than
 * LOOKUP_WORDS_MAX, or memory ran out. */
must_use bool lookup_init(struct lookup *lookup, const char *template, struct error *error);

/* lookup_expand writes the command for `user`: {user} is the whole name, {local} what stands before
 * its last '@' (or all of it), {domain} what stands behind (or nothing); other braces stand for
 * themselves. `command` is zero before, and goes to lookup_command_done after. False when memory
 * ran out. */
must_use bool lookup_expand(const struct lookup *lookup, const char *user,
			    struct lookup_command *command);

void lookup_command_done(struct lookup_command *command);
void lookup_done(struct lookup *lookup);

#endif
