/* SPDX-License-Identifier: Apache-2.0
 *
 * Giving up what the process does not need.
 */
#include "daemon/privilege.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Where the limit cannot be asked for: what Linux gives to whoever does not raise it. */
#define DESCRIPTORS_USUAL 1024

/* A limit may be RLIM_INFINITY: more than any machine has, and few enough to count with. */
#define DESCRIPTORS_MAX 10000000

unsigned privilege_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
		return DESCRIPTORS_USUAL;
	}
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur > DESCRIPTORS_MAX ? DESCRIPTORS_MAX : (unsigned)limit.rlim_cur;
}

void privilege_forbid_dumps(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

bool privilege_drop(const char *user, struct error *error)
{
	const struct passwd *account;

	if (user[0] == '\0') {
		return true;
	}
	errno = 0;
	account = getpwnam(user);
	if (account == NULL) {
		return error_set(error, "process.user: there is no user \"%.64s\"", user);
	}
	if (geteuid() == account->pw_uid && geteuid() != 0) {
		return true;
	}
	if (initgroups(user, account->pw_gid) != 0 ||
	    setresgid(account->pw_gid, account->pw_gid, account->pw_gid) != 0 ||
	    setresuid(account->pw_uid, account->pw_uid, account->pw_uid) != 0) {
		return error_set(error, "process.user: cannot become \"%.64s\": %s", user,
				 strerror(errno));
	}
	if (account->pw_uid != 0 && setuid(0) == 0) {
		return error_set(error, "process.user: root could be had back");
	}
	return true;
}
