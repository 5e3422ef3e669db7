/* SPDX-License-Identifier: Apache-2.0
 *
 * What a backend says, line by line (RFC 9051 section 7): a reader that cuts a stream into lines
 * and swallows literals, and a parser for one line. The parser allocates nothing: what it finds
 * are views into the line.
 */
#ifndef GATEPOST_IMAP_REPLY_H
#define GATEPOST_IMAP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/base.h"
#include "base/buffer.h"

/* struct reply_view is a run of bytes of a line; any byte but LF may be in it. */
struct reply_view {
	const char *bytes;
	size_t length;
};

enum reply_kind {
	REPLY_INVALID,      /* no response of RFC 9051 section 7 */
	REPLY_UNTAGGED,     /* "* ..." */
	REPLY_CONTINUATION, /* "+", "+ ..." */
	REPLY_TAGGED,       /* "TAG OK|NO|BAD ..." */
};

enum reply_status {
	REPLY_NONE, /* untagged data such as "* CAPABILITY ...", or a continuation */
	REPLY_OK,
	REPLY_NO,
	REPLY_BAD,
	REPLY_BYE,     /* untagged only */
	REPLY_PREAUTH, /* untagged only */
};

/* struct reply: views that the line does not fill are empty. For a status, `rest` is all behind the
 * status word, `code` the atom of its response code "[CODE ARGUMENTS]", `arguments` what follows
 * that atom inside the brackets, `text` the free text behind them. A bracket that is never closed
 * is no code: it stays in `text`. For untagged data `word` is the first word and `rest` what
 * follows it; for a continuation only `rest` is set. */
struct reply {
	enum reply_kind kind;
	enum reply_status status;
	struct reply_view tag;
	struct reply_view word;
	struct reply_view rest;
	struct reply_view code;
	struct reply_view arguments;
	struct reply_view text;
};

/* reply_parse reads one line without its CRLF. As real servers do, `T OK` may lack its text and `+`
 * its space; status words are folded. */
struct reply reply_parse(const void *line, size_t length);

/* reply_is tells whether the view is exactly `word`, letters folded. */
bool reply_is(struct reply_view view, const char *word);

/* reply_has_tag tells whether a tagged reply answers `tag`: the whole tag, letters as they are. */
bool reply_has_tag(const struct reply *reply, const char *tag);

/* struct reply_reader: zero but for the two limits is a reader at the start of a line. `total` is
 * what it has consumed, literals and line ends included. */
struct reply_reader {
	size_t line_max;  /* octets of a line without its end, literals left out */
	size_t total_max; /* octets of everything */
	size_t total;
	size_t literal_left;
	size_t piece;   /* where in `line` the part behind the last literal begins */
	bool delivered; /* `line` was handed out, and goes with the next call */
	struct buffer line;
};

enum reply_progress {
	REPLY_MORE, /* all input is consumed and no line is complete */
	REPLY_LINE, /* `line` holds one, without its end */
	REPLY_LINE_TOO_LONG,
	REPLY_TOO_MUCH, /* past total_max, or a literal that would be */
	REPLY_NO_MEMORY,
};

/* reply_reader_next consumes from `input` up to the end of one line (CRLF, or LF alone). Octets of
 * a literal are counted and dropped, and what stands before and behind it is one line with the
 * "{n}" left in place; so they are never read as lines. A status ("OK", "NO", "BAD", "BYE",
 * "PREAUTH", tagged or not) and a continuation end in text, where "{n}" announces nothing. After
 * REPLY_LINE `reader->line` is valid until the next call; after the last three verdicts there is
 * none. */
enum reply_progress reply_reader_next(struct reply_reader *reader, struct buffer *input);

/* reply_reader_done wipes, frees, and leaves the zero state. */
void reply_reader_done(struct reply_reader *reader);

#endif
