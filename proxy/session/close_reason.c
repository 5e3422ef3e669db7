/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of close reasons, made readable.
 */
#include "session/close_reason.h"

#include "base/base.h"

struct close_reason_entry {
	const char *label;
	const char *sentence;
	enum close_blame blame;
};

static const struct close_reason_entry entries[] = {
#define CLOSE_REASON(symbol, label, blame, sentence) {label, sentence, BLAME_##blame},
#include "session/close_reason.def"
#undef CLOSE_REASON
};

static const struct close_reason_entry *entry_of(enum close_reason reason)
{
	invariant(reason < CLOSE_REASON_COUNT);
	return &entries[reason];
}

const char *close_reason_label(enum close_reason reason)
{
	return entry_of(reason)->label;
}

const char *close_reason_sentence(enum close_reason reason)
{
	return entry_of(reason)->sentence;
}

enum close_blame close_reason_blame(enum close_reason reason)
{
	return entry_of(reason)->blame;
}
