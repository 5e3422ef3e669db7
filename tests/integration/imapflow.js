// SPDX-License-Identifier: Apache-2.0
// Reads the subjects of an inbox: node imapflow.js PORT TLS CA USER PASSWORD
const fs = require("fs");
const { ImapFlow } = require("imapflow");

const [port, tls, ca, user, pass] = process.argv.slice(2);
const client = new ImapFlow({
	host: "localhost",
	port: Number(port),
	secure: tls === "implicit",
	doSTARTTLS: tls === "starttls",
	tls: { ca: fs.readFileSync(ca) },
	auth: { user, pass },
	logger: false,
});

async function main() {
	await client.connect();
	await client.mailboxOpen("INBOX");
	for await (const message of client.fetch("1:*", { envelope: true })) {
		console.log("Subject: " + message.envelope.subject);
	}
	await client.logout();
}

main().catch((fault) => {
	console.error(fault.responseText || fault.message);
	process.exit(1);
});
