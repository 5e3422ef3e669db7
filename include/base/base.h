/* SPDX-License-Identifier: Apache-2.0
 *
 * The few words that every file of the house uses. Knows nothing of mail, sockets or time.
 */
#ifndef GATEPOST_BASE_BASE_H
#define GATEPOST_BASE_BASE_H

#include <stddef.h>

#define array_length(array) (sizeof(array) / sizeof((array)[0]))

#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define must_use                   __attribute__((warn_unused_result))
#define printf_format(text, first) __attribute__((__format__(__printf__, text, first)))

/* invariant states what only a bug of ours can break. It stays on in release builds: a broken one
 * prints the condition and its place, and aborts. Nothing that a peer sends may reach one. */
#define invariant(condition)                                                                       \
	((condition) ? (void)0 : invariant_broken(#condition, __FILE__, __LINE__))

_Noreturn void invariant_broken(const char *condition, const char *file, int line);

#endif
