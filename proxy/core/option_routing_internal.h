/* SPDX-License-Identifier: Apache-2.0
 *
 * How routing.canary is written.
 */
#ifndef GATEPOST_CORE_OPTION_ROUTING_INTERNAL_H
#define GATEPOST_CORE_OPTION_ROUTING_INTERNAL_H

#include <stddef.h>

/* option_canary_name is the length of the name of the backend in "mail3:5%", 0 where there is none.
 */
size_t option_canary_name(const char *text);

#endif
