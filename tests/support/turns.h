/* SPDX-License-Identifier: Apache-2.0
 *
 * Turning an event loop until something has happened, without ever asserting how fast.
 */
#ifndef GATEPOST_TESTS_TURNS_H
#define GATEPOST_TESTS_TURNS_H

#include <stdbool.h>

struct ev_loop;

/* turns_until turns the loop until `done(context)`; fails the running cmocka test when that does
 * not come true within a time that only a broken program takes. */
void turns_until(struct ev_loop *loop, bool (*done)(const void *context), const void *context);

/* turns_until_count does so until `*counter` has reached `count`. */
void turns_until_count(struct ev_loop *loop, const unsigned *counter, unsigned count);

/* turns_for turns the loop for about so long, for what must not happen. */
void turns_for(struct ev_loop *loop, unsigned milliseconds);

#endif
