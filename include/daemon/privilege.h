/* SPDX-License-Identifier: Apache-2.0
 *
 * What the process may do, and what it gives up before it meets the network.
 */
#ifndef GATEPOST_DAEMON_PRIVILEGE_H
#define GATEPOST_DAEMON_PRIVILEGE_H

#include "base/base.h"
#include "base/error.h"

/* privilege_raise_descriptors raises RLIMIT_NOFILE to its hard limit, and returns what holds then.
 */
unsigned privilege_raise_descriptors(void);

/* privilege_forbid_dumps: no core file, and no other process of the user may read our memory. */
void privilege_forbid_dumps(void);

/* privilege_drop becomes `user` with its groups, for good. An empty name stays as it is; so does a
 * process that is not root and is that user already. False, and `error`, when it cannot be done. */
must_use bool privilege_drop(const char *user, struct error *error);

#endif
