/* SPDX-License-Identifier: Apache-2.0
 *
 * free() for the whole process: wipes a block before it gives it back. Our own secrets are wiped by
 * their owners; this is for the libraries. BoringSSL decrypts records in place, in blocks that it
 * frees as they are, and a password would stay readable there for as long as nothing reuses them.
 *
 * A realloc() that moves a block does not come by here; BoringSSL's records do. Linked into the
 * program alone: sanitizers and valgrind bring a free() of their own.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* glibc's own free(), which it also exports under this name. */
void __libc_free(void *block);

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): that name is glibc's own */
void free(void *block)
{
	if (block == NULL) {
		return;
	}
	explicit_bzero(block, malloc_usable_size(block));
	__libc_free(block);
}
