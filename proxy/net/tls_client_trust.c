/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom clients trust: authorities by the file that they came from, each file in memory once. A file
 * that has changed since gets authorities of its own, while those who have the old ones keep them.
 */
#include "tls_client_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "net/tls.h"

struct authorities {
	struct authorities *next;
	X509_STORE *store;
	struct stat file; /* as it was when they were read */
	char path[];
};

struct tls_client_trust {
	CRYPTO_BUFFER_POOL *pool;
	struct authorities *list;
};

struct tls_client_trust *tls_client_trust_new(void)
{
	struct tls_client_trust *trust = calloc(1, sizeof(*trust));

	if (trust == NULL) {
		return NULL;
	}
	trust->pool = CRYPTO_BUFFER_POOL_new();
	if (trust->pool == NULL) {
		free(trust);
		return NULL;
	}
	return trust;
}

static void free_authorities(struct authorities *authorities)
{
	X509_STORE_free(authorities->store);
	free(authorities);
}

void tls_client_trust_free(struct tls_client_trust *trust)
{
	if (trust == NULL) {
		return;
	}
	while (trust->list != NULL) {
		struct authorities *first = trust->list;

		trust->list = first->next;
		free_authorities(first);
	}
	CRYPTO_BUFFER_POOL_free(trust->pool);
	free(trust);
}

CRYPTO_BUFFER_POOL *tls_client_trust_pool(struct tls_client_trust *trust)
{
	return trust->pool;
}

static bool read_all(BIO *file, tls_client_take_t *take, void *context)
{
	bool some = false;
	X509 *certificate;
	uint32_t last;

	while ((certificate = PEM_read_bio_X509(file, NULL, NULL, NULL)) != NULL) {
		bool taken = take(context, certificate);

		X509_free(certificate);
		if (!taken) {
			return false;
		}
		some = true;
	}
	last = ERR_peek_last_error();
	ERR_clear_error();
	return some && ERR_GET_LIB(last) == ERR_LIB_PEM &&
	       ERR_GET_REASON(last) == PEM_R_NO_START_LINE; /* so ends a file */
}

bool tls_client_read_certificates(const char *path, tls_client_take_t *take, void *context,
				  struct error *error)
{
	BIO *file;
	bool outcome;

	ERR_clear_error();
	file = BIO_new_file(path, "r");
	outcome = file != NULL && read_all(file, take, context);
	BIO_free(file);
	if (!outcome) {
		/* Only of a file that cannot be opened has the library more to say. */
		tls_error_set(error, "not certificates in PEM");
		error_prefix(error, path);
	}
	return outcome;
}

static bool add_authority(void *context, X509 *certificate)
{
	X509_STORE *store = context;

	return X509_STORE_add_cert(store, certificate) == 1;
}

/* Whatever stands in the file is trusted as it is, an intermediate too. */
static X509_STORE *make_store(const char *path, struct error *error)
{
	X509_STORE *store = X509_STORE_new();

	if (store == NULL ||
	    !X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST)) {
		tls_error_set(error, "out of memory");
		X509_STORE_free(store);
		return NULL;
	}
	if (!tls_client_read_certificates(path, add_authority, store, error)) {
		X509_STORE_free(store);
		return NULL;
	}
	return store;
}

static bool is_same_file(const struct stat *left, const struct stat *right)
{
	return left->st_dev == right->st_dev && left->st_ino == right->st_ino &&
	       left->st_size == right->st_size && left->st_mtim.tv_sec == right->st_mtim.tv_sec &&
	       left->st_mtim.tv_nsec == right->st_mtim.tv_nsec;
}

static struct authorities *read_authorities(const char *path, const struct stat *file,
					    struct error *error)
{
	size_t size = strlen(path) + 1;
	struct authorities *authorities = malloc(sizeof(*authorities) + size);

	if (authorities == NULL) {
		error_set(error, "%s: out of memory", path);
		return NULL;
	}
	*authorities = (struct authorities){.file = *file, .store = make_store(path, error)};
	memcpy(authorities->path, path, size);
	if (authorities->store == NULL) {
		free_authorities(authorities);
		return NULL;
	}
	return authorities;
}

/* The place in the list of what was read from a path, or of its end. */
static struct authorities **find(struct tls_client_trust *trust, const char *path)
{
	struct authorities **place = &trust->list;

	while (*place != NULL && strcmp((*place)->path, path) != 0) {
		place = &(*place)->next;
	}
	return place;
}

X509_STORE *tls_client_trust_store(struct tls_client_trust *trust, const char *path,
				   struct error *error)
{
	struct authorities **place = find(trust, path);
	struct authorities *old = *place;
	struct stat file;

	if (stat(path, &file) != 0) {
		error_set(error, "%s: %s", path, strerror(errno));
		return NULL;
	}
	if (old == NULL || !is_same_file(&old->file, &file)) {
		struct authorities *authorities = read_authorities(path, &file, error);

		if (authorities == NULL) {
			return NULL;
		}
		if (old != NULL) {
			authorities->next = old->next;
			free_authorities(old);
		}
		*place = authorities;
	}
	X509_STORE_up_ref((*place)->store);
	return (*place)->store;
}
