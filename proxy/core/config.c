/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading a configuration, and its life: counted references, and passwords wiped with the last.
 */
#include "core/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "config_internal.h"
#include "option_internal.h"

static void config_free(struct config *config)
{
	for (unsigned i = 0; i < SECTION_COUNT; i++) {
		const struct section *section = &option_sections[i];
		size_t tables = option_structure_count(config, section);

		for (size_t j = 0; j < tables * option_count; j++) {
			const struct option *option = &option_table[j % option_count];

			if (option->section == i) {
				option_done(option,
					    option_structure(config, section, j / option_count));
			}
		}
	}
	for (size_t i = 0; i < config->routing.user_count; i++) {
		free(config->routing.users[i].name);
	}
	free(config->routing.users);
	free(config->listeners);
	free(config->tls.certificates);
	free(config->backends);
	free(config);
}

static struct config *load_tree(const struct toml_node *root, struct faults *faults)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config == NULL) {
		faults_add(faults, root->place, "out of memory");
		return NULL;
	}
	config->references = 1;
	config_read(config, root, faults);
	config_check(config, root, faults);
	if (faults->count > 0) {
		config_free(config);
		return NULL;
	}
	return config;
}

static struct config *load_bytes(const char *text, size_t length, struct faults *faults)
{
	struct toml_fault fault;
	struct toml_node *root = toml_parse(text, length, &fault);
	struct config *config;

	if (root == NULL) {
		faults_add(faults, fault.place, "not TOML: %s", fault.text);
		return NULL;
	}
	config = load_tree(root, faults);
	toml_free(root);
	return config;
}

struct config *config_load_text(const char *text, const char *name, FILE *out)
{
	struct faults faults = {0};
	struct config *config = load_bytes(text, strlen(text), &faults);

	faults_write(&faults, name, out);
	faults_done(&faults);
	return config;
}

/* Reads to the end of the file or just past CONFIG_FILE_MAX; 0 or an errno. */
static int read_all(int file, struct buffer *text)
{
	char chunk[16384];

	while (text->length <= CONFIG_FILE_MAX) {
		ssize_t count = read(file, chunk, sizeof(chunk));

		if (count < 0 && errno == EINTR) {
			continue;
		}
		if (count < 0) {
			return errno;
		}
		if (count == 0) {
			break;
		}
		if (!buffer_append(text, chunk, (size_t)count)) {
			return ENOMEM;
		}
	}
	explicit_bzero(chunk, sizeof(chunk));
	return 0;
}

static bool read_file(const char *path, struct buffer *text, struct faults *faults)
{
	struct config_place top = {1, 1};
	int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int problem = file < 0 ? errno : read_all(file, text);

	if (file >= 0) {
		close(file);
	}
	if (problem != 0) {
		faults_add(faults, top, "cannot be read: %s; name a configuration file",
			   strerror(problem));
	} else if (text->length > CONFIG_FILE_MAX) {
		faults_add(faults, top, "larger than %d bytes; no configuration is",
			   CONFIG_FILE_MAX);
	}
	return faults->count == 0;
}

struct config *config_load(const char *path, FILE *out)
{
	struct faults faults = {0};
	struct buffer text = {0};
	struct config *config = NULL;

	if (read_file(path, &text, &faults)) {
		config = load_bytes((const char *)buffer_bytes(&text), text.length, &faults);
	}
	faults_write(&faults, path, out);
	faults_done(&faults);
	buffer_done(&text);
	return config;
}

struct config *config_ref(struct config *config)
{
	__atomic_add_fetch(&config->references, 1, __ATOMIC_RELAXED);
	return config;
}

void config_unref(struct config *config)
{
	if (config != NULL && __atomic_sub_fetch(&config->references, 1, __ATOMIC_ACQ_REL) == 0) {
		config_free(config);
	}
}
