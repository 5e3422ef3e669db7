/* SPDX-License-Identifier: Apache-2.0
 *
 * The pool: all members of the process. A backend of the configuration is one member, but for
 * "srv:" addresses, of which every target is one, named by its host: pods join and leave. Views are
 * immutable; a worker keeps one, and takes the next when the version has changed.
 */
#ifndef GATEPOST_ROUTING_POOL_H
#define GATEPOST_ROUTING_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/error.h"
#include "routing/member.h"

struct config;
struct pool;
struct resolver_service;

/* Members of all backends together. */
#define POOL_MEMBERS_MAX 4096

/* struct pool_view: members in the order of their names. Shared by reference, freed with the last,
 * whichever thread has it. */
struct pool_view {
	unsigned version;
	size_t count;
	struct member *members[];
};

/* pool_new makes the members that need no question. The pool keeps a reference to `config`. NULL,
 * and `error`, when memory ran out. */
must_use struct pool *pool_new(struct config *config, struct error *error);
void pool_free(struct pool *pool);

/* pool_version is cheap: compare it with the view's. pool_view gives one reference. */
unsigned pool_version(const struct pool *pool);
must_use const struct pool_view *pool_view(struct pool *pool);
void pool_view_unref(const struct pool_view *view);

/* pool_view_find gives a member by name, NULL where there is none; borrowed from the view.
 * pool_view_index gives where it is, `count` where it is not. */
size_t pool_view_index(const struct pool_view *view, const char *name);
struct member *pool_view_find(const struct pool_view *view, const char *name);

/* pool_set_services makes the targets of a "srv:" backend its members: those that were members
 * before, at the same port, stay what they are but for their weights; those that are no more leave
 * the view. Refused are names that another backend has, a second port of one host, what is no host
 * name, and more than fits; the rest is taken. True when the view changed, or a weight did. A
 * weight of 0 in SRV counts as 1, and all are multiplied with the backend's, by 100 in percent, and
 * are 1 at least where that is not 0. Whatever their order, every proxy comes to the same members.
 * Keeper's thread. */
bool pool_set_services(struct pool *pool, size_t config, const struct resolver_service *services,
		       size_t count);

#endif
