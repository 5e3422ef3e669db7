/* SPDX-License-Identifier: Apache-2.0
 *
 * A server of Redis of a test's own, for any number of connections.
 */
#include "support/fake_node.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/redis_words.h"

struct fake_node_link {
	struct fake_node_link *prev;
	struct fake_node_link *next;
	struct fake_node *node;
	struct ev_io watcher;
	struct buffer input;
	unsigned channels;
	bool tracks;
};

static void send_bytes(struct fake_node_link *link, const char *text)
{
	size_t length = strlen(text);

	/* What a peer that has gone does not take is no fault of the test. */
	while (length > 0) {
		ssize_t sent = send(link->watcher.fd, text, length, MSG_NOSIGNAL);

		if (sent < 0) {
			return;
		}
		text += sent;
		length -= (size_t)sent;
	}
}

static void drop_link(struct fake_node_link *link)
{
	DL_DELETE(link->node->links, link);
	ev_io_stop(link->node->loop, &link->watcher);
	close(link->watcher.fd);
	buffer_done(&link->input);
	free(link);
}

/* --- Commands ------------------------------------------------------------------------------- */

static void send_role(struct fake_node_link *link)
{
	char reply[96];

	snprintf(reply, sizeof(reply), "*3\r\n$%zu\r\n%s\r\n:0\r\n*0\r\n", strlen(link->node->role),
		 link->node->role);
	send_bytes(link, reply);
}

static void confirm_channels(struct fake_node_link *link, const char *channels)
{
	char reply[256];

	link->node->subscribed += link->channels == 0;
	while (*channels != '\0') {
		int length = (int)strcspn(channels, " ");

		snprintf(reply, sizeof(reply), "*3\r\n$9\r\nsubscribe\r\n$%d\r\n%.*s\r\n:%u\r\n",
			 length, length, channels, ++link->channels);
		send_bytes(link, reply);
		channels += length + (channels[length] == ' ');
	}
}

static void track(struct fake_node_link *link, const char *words)
{
	link->tracks = true;
	buffer_append_text(&link->node->tracked, words);
	buffer_append_text(&link->node->tracked, "\n");
	send_bytes(link, "+OK\r\n");
}

static void answer(struct fake_node_link *link, const char *command)
{
	struct fake_node *node = link->node;
	const char *reply = node->reply;

	node->asked++;
	buffer_append_text(&node->heard, command);
	buffer_append_text(&node->heard, "\n");
	if (node->answer != NULL) {
		reply = node->answer(node, command);
	}
	if (reply != NULL) {
		send_bytes(link, reply);
	}
}

static bool begins(const char *command, const char *word)
{
	return strncmp(command, word, strlen(word)) == 0;
}

static void handle(struct fake_node_link *link, const char *command)
{
	if (link->node->hangs) {
		return;
	}
	if (begins(command, "AUTH ") || begins(command, "SELECT ")) {
		send_bytes(link, "+OK\r\n");
	} else if (strcmp(command, "PING") == 0) {
		send_bytes(link,
			   link->channels > 0 ? "*2\r\n$4\r\npong\r\n$0\r\n\r\n" : "+PONG\r\n");
	} else if (strcmp(command, "ROLE") == 0) {
		send_role(link);
	} else if (strcmp(command, "CLIENT ID") == 0) {
		send_bytes(link, ":7\r\n");
	} else if (begins(command, "CLIENT TRACKING ")) {
		track(link, command + strlen("CLIENT TRACKING "));
	} else if (begins(command, "SUBSCRIBE ")) {
		confirm_channels(link, command + strlen("SUBSCRIBE "));
	} else if (strcmp(command, "ASKING") == 0) {
		link->node->asking++;
		send_bytes(link, "+OK\r\n");
	} else {
		answer(link, command);
	}
}

static void on_link(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct fake_node_link *link = container_of(watcher, struct fake_node_link, watcher);
	char bytes[16384];
	char joined[4096] = "";
	ssize_t count = recv(watcher->fd, bytes, sizeof(bytes), 0);
	size_t taken;

	(void)loop;
	(void)events;
	if (count <= 0) {
		drop_link(link);
		return;
	}
	assert_true(buffer_append(&link->input, bytes, (size_t)count));
	while ((taken = redis_words_take(&link->input, joined, sizeof(joined))) > 0) {
		buffer_consume(&link->input, taken);
		handle(link, joined);
	}
}

/* --- Up and down ---------------------------------------------------------------------------- */

static void on_listener(struct ev_loop *loop, struct ev_io *watcher, int events)
{
	struct fake_node *node = container_of(watcher, struct fake_node, listener);
	struct fake_node_link *link = calloc(1, sizeof(*link));
	int fd = accept4(watcher->fd, NULL, NULL, SOCK_CLOEXEC);

	(void)events;
	assert_true(fd >= 0);
	assert_non_null(link);
	if (link == NULL) {
		return;
	}
	node->accepted++;
	link->node = node;
	DL_APPEND(node->links, link);
	ev_io_init(&link->watcher, on_link, fd, EV_READ);
	ev_io_start(loop, &link->watcher);
}

void fake_node_up(struct fake_node *node)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(node->port)};
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	node->port = ntohs(address.sin_port);
	assert_int_equal(listen(fd, 64), 0);
	ev_io_init(&node->listener, on_listener, fd, EV_READ);
	ev_io_start(node->loop, &node->listener);
}

void fake_node_open(struct fake_node *node, struct ev_loop *loop)
{
	*node = (struct fake_node){.loop = loop, .role = "master", .reply = "$1\r\nm\r\n"};
	fake_node_up(node);
}

void fake_node_down(struct fake_node *node)
{
	while (node->links != NULL) {
		drop_link(node->links);
	}
	if (node->listener.fd >= 0) {
		ev_io_stop(node->loop, &node->listener);
		close(node->listener.fd);
		node->listener.fd = -1;
	}
}

void fake_node_close(struct fake_node *node)
{
	if (node->loop != NULL) {
		fake_node_down(node);
	}
	buffer_done(&node->heard);
	buffer_done(&node->tracked);
}

void fake_node_hang_up(struct fake_node *node, bool subscribers)
{
	struct fake_node_link *link;
	struct fake_node_link *following;

	DL_FOREACH_SAFE(node->links, link, following)
	{
		if ((link->channels > 0) == subscribers) {
			drop_link(link);
		}
	}
}

/* --- What it says unasked ------------------------------------------------------------------- */

void fake_node_tell(struct fake_node *node, const char *channel, const char *text)
{
	char message[512];
	struct fake_node_link *link;

	snprintf(message, sizeof(message), "*3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
		 strlen(channel), channel, strlen(text), text);
	DL_FOREACH(node->links, link)
	{
		if (link->channels > 0) {
			send_bytes(link, message);
		}
	}
}

void fake_node_invalidate(struct fake_node *node, const char *key)
{
	static const char head[] = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n";
	char message[512];
	struct fake_node_link *link;

	if (key == NULL) {
		snprintf(message, sizeof(message), "%s*-1\r\n", head);
	} else {
		snprintf(message, sizeof(message), "%s*1\r\n$%zu\r\n%s\r\n", head, strlen(key),
			 key);
	}
	DL_FOREACH(node->links, link)
	{
		if (link->tracks) {
			send_bytes(link, message);
		}
	}
}

void fake_node_send(struct fake_node *node, const char *text)
{
	struct fake_node_link *link;

	DL_FOREACH(node->links, link)
	{
		if (link->channels == 0) {
			send_bytes(link, text);
		}
	}
}

const char *fake_node_heard(struct fake_node *node)
{
	buffer_append_byte(&node->heard, '\0');
	node->heard.length--; /* it stays behind the text */
	return (const char *)buffer_bytes(&node->heard);
}
