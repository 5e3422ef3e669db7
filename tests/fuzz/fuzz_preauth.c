/* SPDX-License-Identifier: Apache-2.0
 *
 * The dialogue before login: the same words, verdicts and leftovers however the input is cut; only
 * whole lines; credentials, responses and identities that keep their promises; no place of the
 * ration kept too long. Logins are challenged, and then refused, until the input ends.
 *
 * The first byte chooses the listener: bits 0 to 4 are flags, bits 5 to 7 the mechanisms.
 */
#include <string.h>

#include "base/base.h"
#include "base/base64.h"
#include "base/buffer.h"
#include "base/text.h"
#include "cuts.h"
#include "imap/capability.h"
#include "imap/credentials.h"
#include "imap/preauth.h"
#include "imap/refusal.h"
#include "imap/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CERTIFIED_USER "u1"

enum flag {
	FLAG_CLEAR = 1, /* no secrets */
	FLAG_SMALL = 2,
	FLAG_STARTTLS = 4,
	FLAG_TRUSTED = 8,
	FLAG_NO_PLACES = 16,
};

static const unsigned mechanism_sets[8] = {
	SASL_ALL,
	SASL_BIT(SASL_PLAIN),
	SASL_PASSWORDS,
	SASL_TOKENS,
	SASL_EXCHANGES,
	SASL_BIT(SASL_EXTERNAL) | SASL_BIT(SASL_LOGIN),
	0,
	SASL_ALL & ~SASL_BIT(SASL_PLAIN),
};

static const struct preauth_limits usual = {8192, 32768, 4096, 126, 30, 10, 1000};
static const struct preauth_limits small = {64, 100, 16, 20, 3, 4, 12};

/* struct world is one listener and what its dialogue says. */
struct world {
	struct capability_front front;
	struct preauth_ration ration;
	struct preauth_settings settings;
	struct preauth *preauth;
	struct buffer reply;
	unsigned challenges; /* that the login still gets */
	bool gives_up;       /* refuses without waiting for the last response */
};

static void world_init(struct world *world, uint8_t choice)
{
	*world = (struct world){
		.front = {.secrets_allowed = (choice & FLAG_CLEAR) == 0,
			  .starttls = (choice & FLAG_STARTTLS) != 0,
			  .mechanisms = mechanism_sets[choice >> 5]},
		.ration = {.most = (choice & FLAG_NO_PLACES) == 0 ? 1 : 0},
		.settings = {.limits = (choice & FLAG_SMALL) == 0 ? &usual : &small,
			     .certified_user = CERTIFIED_USER,
			     .trusted = (choice & FLAG_TRUSTED) != 0},
	};
	world->settings.front = &world->front;
	world->settings.ration = &world->ration;
	world->preauth = preauth_new(&world->settings);
	invariant(world->preauth != NULL);
}

static void check_name(const char *name)
{
	size_t length = strlen(name);

	invariant(length >= 1 && length <= CREDENTIALS_USER_MAX);
	invariant(text_is_utf8(name, length) && !text_has_control(name, length));
}

static void check_login(const struct world *world, const struct credentials *credentials)
{
	const struct secret *secret = &credentials->secret;
	bool external = credentials->mechanism == SASL_EXTERNAL;
	unsigned allowed = world->front.mechanisms;

	if ((allowed & SASL_PASSWORDS) != 0) {
		allowed |= SASL_BIT(SASL_PLAIN);
	}
	invariant(world->front.secrets_allowed);
	invariant((allowed & SASL_BIT(credentials->mechanism)) != 0);
	invariant(credentials->mechanism != SASL_LOGIN);
	check_name(credentials->user);
	if (credentials->owner != NULL) {
		check_name(credentials->owner);
	}
	invariant(external == (secret->length == 0));
	invariant(!external || strcmp(credentials_mailbox(credentials), CERTIFIED_USER) == 0);
	invariant(secret->length <= CREDENTIALS_SECRET_MAX);
	invariant(!text_has_control(secret->bytes, secret->length));
	invariant(preauth_tag(world->preauth)[0] != '\0');
}

/* What is announced changes between logins. */
static void refuse(struct world *world)
{
	preauth_refuse(world->preauth, &REFUSAL_CREDENTIALS, &world->reply);
	invariant(preauth_credentials(world->preauth)->user == NULL);
	invariant(world->ration.taken == 0);
	world->front.mechanisms ^= SASL_BIT(SASL_XOAUTH2);
}

static bool may_be_challenged(const struct credentials *credentials)
{
	return (SASL_BIT(credentials->mechanism) & (SASL_TOKENS | SASL_EXCHANGES)) != 0;
}

static void challenge_or_refuse(struct world *world)
{
	if (world->challenges == 0) {
		refuse(world);
		return;
	}
	world->challenges--;
	preauth_challenge(world->preauth, world->challenges % 2 == 0 ? "" : "AAAA", &world->reply);
	if (world->challenges == 0 && world->gives_up) {
		refuse(world);
	}
}

static void take_login(struct world *world)
{
	const struct credentials *credentials = preauth_credentials(world->preauth);
	struct buffer *reply = &world->reply;

	check_login(world, credentials);
	/* Part of what must not depend on the cuts. */
	buffer_append_text(reply, sasl_name((enum sasl_mechanism)credentials->mechanism));
	buffer_append_text(reply, credentials->user);
	buffer_append_text(reply, credentials_mailbox(credentials));
	buffer_append(reply, credentials->secret.bytes, credentials->secret.length);
	world->challenges = may_be_challenged(credentials) ? credentials->secret.length % 4 : 0;
	world->gives_up = credentials->secret.length % 8 >= 4;
	challenge_or_refuse(world);
}

static void take_response(struct world *world)
{
	const char *response = preauth_response(world->preauth);
	struct buffer decoded = {0};

	invariant(preauth_credentials(world->preauth)->user != NULL);
	if (response == NULL) {
		refuse(world);
		return;
	}
	invariant(base64_decode(&decoded, response, strlen(response)));
	buffer_done(&decoded);
	buffer_append_text(&world->reply, response);
	challenge_or_refuse(world);
}

static enum preauth_verdict feed(struct world *world, struct buffer *input)
{
	enum preauth_verdict verdict;
	bool full;

	do {
		size_t before = world->reply.length;

		verdict = preauth_feed(world->preauth, input, &world->reply);
		if (world->reply.length > before) {
			invariant(buffer_bytes(&world->reply)[world->reply.length - 1] == '\n');
		}
		if (verdict == PREAUTH_LOGIN) {
			take_login(world);
		} else if (verdict == PREAUTH_RESPONSE) {
			take_response(world);
		}
		invariant(world->ration.taken <= world->ration.most);
		full = world->reply.length - before >= PREAUTH_REPLY_MAX;
		invariant(verdict != PREAUTH_MORE || input->length == 0 || full);
	} while (verdict == PREAUTH_LOGIN || verdict == PREAUTH_RESPONSE ||
		 (verdict == PREAUTH_MORE && input->length > 0));
	invariant(verdict != PREAUTH_STARTTLS || world->front.starttls);
	return verdict;
}

static void note_text(struct buffer *out, const char *text)
{
	if (text != NULL) {
		invariant(text[0] != '\0' && strlen(text) <= 64);
		invariant(!text_has_control(text, strlen(text)) && strchr(text, '"') == NULL);
		buffer_append_text(out, text);
	}
	buffer_append_text(out, ";");
}

/* The pairs are quoted strings and NILs by turns, single spaces between, and no field is ours. */
static void check_pairs(const char *pairs)
{
	const char *at = pairs;
	unsigned items = 0;

	while (*at != '\0') {
		invariant(items == 0 || *at++ == ' ');
		items++;
		if (strncmp(at, "NIL", 3) == 0) {
			invariant(items % 2 == 0);
			at += 3;
			continue;
		}
		invariant(*at++ == '"');
		invariant(items % 2 == 0 || !text_starts_nocase(at, strlen(at), "x-"));
		while (*at != '"') {
			at += *at == '\\' ? 1 : 0;
			invariant(*at >= 0x20 && *at <= 0x7E);
			at++;
		}
		at++;
	}
	invariant(items % 2 == 0 && strlen(pairs) <= PREAUTH_IDENTITY_MAX);
}

static void note_identity(struct world *world)
{
	struct preauth_identity identity = preauth_identity(world->preauth);
	unsigned ttl = 0;

	check_pairs(identity.pairs);
	invariant(identity.originating_port <= 65535 && identity.connected_port <= 65535);
	invariant(world->settings.trusted ||
		  (identity.originating_ip == NULL && identity.originating_port == 0 &&
		   identity.connected_ip == NULL && identity.connected_port == 0 &&
		   identity.session_id == NULL));
	buffer_append_text(&world->reply, identity.pairs);
	note_text(&world->reply, identity.originating_ip);
	note_text(&world->reply, identity.connected_ip);
	note_text(&world->reply, identity.session_id);
	preauth_proxy_ttl(world->preauth, &ttl);
	buffer_printf(&world->reply, "%u %u %u", identity.originating_port, identity.connected_port,
		      ttl);
}

static void run(const uint8_t *data, size_t size, uint32_t seed, struct buffer *outcome)
{
	struct world world;
	struct buffer input = {0};
	enum preauth_verdict verdict = PREAUTH_MORE;
	size_t at = 1;

	world_init(&world, data[0]);
	while (at < size && verdict == PREAUTH_MORE) {
		size_t piece = seed == 0 ? size - at : cuts_next(&seed, size - at);

		buffer_append(&input, data + at, piece);
		at += piece;
		verdict = feed(&world, &input);
	}
	note_identity(&world);
	buffer_printf(&world.reply, "%d %d", verdict, preauth_asked_capability(world.preauth));
	if (verdict != PREAUTH_MORE) {
		buffer_printf(&world.reply, " %zu", at - input.length);
	}
	preauth_free(world.preauth);
	invariant(world.ration.taken == 0);
	buffer_done(&input);
	*outcome = world.reply;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer whole = {0};
	struct buffer pieces = {0};

	if (size == 0) {
		return 0;
	}
	run(data, size, 0, &whole);
	run(data, size, cuts_seed(data, size), &pieces);
	invariant(whole.length == pieces.length);
	invariant(memcmp(buffer_bytes(&whole), buffer_bytes(&pieces), whole.length) == 0);
	buffer_done(&whole);
	buffer_done(&pieces);
	return 0;
}
