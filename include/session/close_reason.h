/* SPDX-License-Identifier: Apache-2.0
 *
 * Why sessions end: one table for the enum, the metric label, the log level and the sentence.
 */
#ifndef GATEPOST_SESSION_CLOSE_REASON_H
#define GATEPOST_SESSION_CLOSE_REASON_H

enum close_reason {
#define CLOSE_REASON(symbol, label, blame, sentence) CLOSE_##symbol,
#include "session/close_reason.def"
#undef CLOSE_REASON
	CLOSE_REASON_COUNT
};

enum close_blame { BLAME_NOBODY, BLAME_CLIENT, BLAME_BACKEND, BLAME_OURSELVES };

const char *close_reason_label(enum close_reason reason);
const char *close_reason_sentence(enum close_reason reason);
enum close_blame close_reason_blame(enum close_reason reason);

#endif
