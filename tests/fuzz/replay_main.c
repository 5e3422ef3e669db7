/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target once over each file that is named, without a fuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX (1U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An exact block, so that the sanitizers see a step past its end. */
static int replay(const char *path)
{
	FILE *file = fopen(path, "rbe");
	uint8_t *read = malloc(INPUT_MAX);
	uint8_t *exact = NULL;
	size_t size = 0;
	int status = 1;

	if (file != NULL && read != NULL) {
		size = fread(read, 1, INPUT_MAX, file);
		exact = malloc(size > 0 ? size : 1);
	}
	if (exact != NULL && !ferror(file)) {
		for (size_t i = 0; i < size; i++) {
			exact[i] = read[i];
		}
		LLVMFuzzerTestOneInput(exact, size);
		status = 0;
	} else {
		fprintf(stderr, "%s: cannot be read\n", path);
	}
	if (file != NULL) {
		fclose(file);
	}
	free(read);
	free(exact);
	return status;
}

int main(int count, char **paths)
{
	int status = 0;

	for (int i = 1; i < count; i++) {
		status |= replay(paths[i]);
	}
	return status;
}
