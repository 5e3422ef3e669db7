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
	char *prefix;       /* owned: the key before its first placeholder */
	const char *suffix; /* the key behind its last placeholder; NULL where it has none */
	bool one_user;      /* the key holds {user} once, and no other placeholder */
};

/* What a key of Redis has to do with the lookup, whose key is words[1]. */
enum lookup_verdict {
	LOOKUP_ONE_USER,   /* it is the key of this user, and of nobody else */
	LOOKUP_MANY_USERS, /* it is, or may be, a key of the lookup, but nobody knows of whom */
	LOOKUP_NOT_OURS,   /* no user has this key */
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

/* lookup_prefix is what all keys of the lookup begin with, and what is watched: the key up to its
 * first {user}, {local} or {domain}, or all of it. Perhaps "". Valid as long as the lookup. */
const char *lookup_prefix(const struct lookup *lookup);

/* lookup_user_of_key tells whose key this is. `user` is written for ONE_USER only. */
enum lookup_verdict lookup_user_of_key(const struct lookup *lookup, const char *key, size_t length,
				       char user[CONFIG_USER_MAX + 1]);

void lookup_command_done(struct lookup_command *command);
void lookup_done(struct lookup *lookup);

#endif
