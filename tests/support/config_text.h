/* SPDX-License-Identifier: Apache-2.0
 *
 * Configurations from text, for tests.
 */
#ifndef GATEPOST_TESTS_CONFIG_TEXT_H
#define GATEPOST_TESTS_CONFIG_TEXT_H

#include <stddef.h>

struct config;

/* A listener that needs no certificate, in three lines. */
#define CONFIG_TEXT_LISTENER "[[listener]]\naddress = \"127.0.0.1:993\"\ntls = \"none\"\n"

/* config_text_load loads a text named "f"; `faults` becomes a string that the caller frees. */
struct config *config_text_load(const char *text, char **faults);

/* config_text_good does so for a text without a fault, and fails the test for any other. */
struct config *config_text_good(const char *text);

/* config_text_print gives what config_print writes; the caller frees. */
char *config_text_print(const struct config *config);

#endif
