/* SPDX-License-Identifier: Apache-2.0
 *
 * A password whose copies can be counted in this process's own heap and stack: after a hand-off
 * there must be none. Meaningless under AddressSanitizer, whose heap is elsewhere.
 */
#ifndef GATEPOST_TESTS_CANARY_H
#define GATEPOST_TESTS_CANARY_H

#include <stdbool.h>
#include <stddef.h>

#define CANARY_LENGTH 64

/* canary_write writes the CANARY_LENGTH printable characters of the canary, without NUL. Wipe them
 * before counting. */
void canary_write(char *text);

/* canary_count tells how many copies of the canary's middle are in the heap and on the stack. */
size_t canary_count(void);

/* canary_can_count tells whether this build's heap can be searched. */
bool canary_can_count(void);

#endif
