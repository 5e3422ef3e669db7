/* SPDX-License-Identifier: Apache-2.0
 *
 * The file of an OCSP response: read when it changes, given out while it is valid.
 */
#include "tls_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/mem.h>
#include <openssl/pool.h>
#include <openssl/x509.h>

#include "core/log.h"

static bool same_file(const struct tls_staple *staple, const struct stat *file)
{
	return staple->known && staple->inode == file->st_ino && staple->size == file->st_size &&
	       staple->changed.tv_sec == file->st_mtim.tv_sec &&
	       staple->changed.tv_nsec == file->st_mtim.tv_nsec;
}

static void remember_file(struct tls_staple *staple, const struct stat *file)
{
	staple->known = true;
	staple->inode = file->st_ino;
	staple->size = file->st_size;
	staple->changed = file->st_mtim;
}

/* Reads all of the file, at most `size` bytes; -1, and errno, when it cannot be. */
static ssize_t read_all(int fd, uint8_t *bytes, size_t size)
{
	size_t filled = 0;
	ssize_t count;

	while (filled < size && (count = read(fd, bytes + filled, size - filled)) != 0) {
		if (count > 0) {
			filled += (size_t)count;
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return (ssize_t)filled;
}

static void judge(struct tls_staple *staple, const uint8_t *bytes, size_t length,
		  struct error *error)
{
	CBS response;
	CBS serial;

	CBS_init(&response, bytes, length);
	CBS_init(&serial, staple->serial, staple->serial_length);
	if (length > TLS_OCSP_MAX) {
		error_set(error, "longer than %u bytes", TLS_OCSP_MAX);
	} else if (tls_ocsp_read(response, serial, &staple->validity, error)) {
		staple->read = CRYPTO_BUFFER_new(bytes, length, NULL);
		if (staple->read == NULL) {
			staple->known = false; /* the next time perhaps */
			error_set(error, "out of memory");
		}
	}
}

static void read_changed(struct tls_staple *staple, int fd, struct error *error)
{
	uint8_t *bytes = malloc(TLS_OCSP_MAX + 1);
	ssize_t length = bytes != NULL ? read_all(fd, bytes, TLS_OCSP_MAX + 1) : -1;

	if (length >= 0) {
		judge(staple, bytes, (size_t)length, error);
	} else {
		staple->known = false; /* it may be readable the next time */
		error_set(error, "%s", strerror(errno));
	}
	free(bytes);
}

static void forget(struct tls_staple *staple)
{
	CRYPTO_BUFFER_free(staple->read);
	staple->read = NULL;
	staple->known = false;
}

/* Reads the file unless it is the one that was read last, of which the same is said again. */
static void read_file(struct tls_staple *staple, struct error *error)
{
	int fd = open(staple->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat file;

	if (fd < 0 || fstat(fd, &file) != 0) {
		forget(staple);
		error_set(error, "%s", strerror(errno));
	} else if (!same_file(staple, &file)) {
		forget(staple);
		remember_file(staple, &file);
		read_changed(staple, fd, error);
	} else if (staple->read == NULL) {
		error_set(error, "%s", staple->told);
	}
	if (fd >= 0) {
		close(fd);
	}
}

static bool may_serve(const struct tls_staple *staple, int64_t now, struct error *error)
{
	if (staple->read == NULL) {
		return false;
	}
	if (now < staple->validity.begin) {
		return error_set(error, "is not valid yet");
	}
	if (now >= staple->validity.end) {
		return error_set(error, "is no longer valid");
	}
	return true;
}

/* Handshakes copy what they give out, under the lock: nobody reads the old one behind it. */
static void exchange(struct tls_staple *staple, CRYPTO_BUFFER *response, pthread_mutex_t *lock)
{
	CRYPTO_BUFFER *old;

	if (response != NULL) {
		CRYPTO_BUFFER_up_ref(response);
	}
	pthread_mutex_lock(lock);
	old = staple->current;
	staple->current = response;
	pthread_mutex_unlock(lock);
	CRYPTO_BUFFER_free(old);
}

static void tell(struct tls_staple *staple, const struct error *error)
{
	if (strcmp(staple->told, error->text) == 0) {
		return;
	}
	snprintf(staple->told, sizeof(staple->told), "%s", error->text);
	if (error->text[0] != '\0') {
		log_warn("OCSP response is not used", log_text("file", staple->path),
			 log_text("detail", error->text));
	} else {
		log_info("OCSP response is used again", log_text("file", staple->path));
	}
}

void tls_staple_refresh(struct tls_staple *staple, pthread_mutex_t *lock)
{
	struct error error = {0};
	CRYPTO_BUFFER *response;

	if (staple->path == NULL) {
		return;
	}
	read_file(staple, &error);
	response = may_serve(staple, (int64_t)time(NULL), &error) ? staple->read : NULL;
	if (response != staple->current) {
		exchange(staple, response, lock);
	}
	tell(staple, &error);
}

/* Whether there is something to read, by those who start the program. */
static bool can_read(const char *path, struct error *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t byte;
	bool readable = fd >= 0 && read(fd, &byte, 1) >= 0;

	if (!readable) {
		error_set(error, "%s", strerror(errno));
		error_prefix(error, path);
	}
	if (fd >= 0) {
		close(fd);
	}
	return readable;
}

bool tls_staple_init(struct tls_staple *staple, const char *path, X509 *leaf, struct error *error)
{
	int length;

	if (path == NULL || path[0] == '\0') {
		return true;
	}
	length = i2d_ASN1_INTEGER(X509_get_serialNumber(leaf), &staple->serial);
	staple->path = strdup(path);
	if (length <= 0 || staple->path == NULL) {
		return error_set(error, "out of memory");
	}
	staple->serial_length = (size_t)length;
	return can_read(path, error);
}

void tls_staple_done(struct tls_staple *staple)
{
	CRYPTO_BUFFER_free(staple->current);
	CRYPTO_BUFFER_free(staple->read);
	OPENSSL_free(staple->serial);
	free(staple->path);
	*staple = (struct tls_staple){0};
}
