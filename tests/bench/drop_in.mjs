// Twilio's official Node client against our own Messages.json: nothing is changed in it but the host.
// usage: node drop_in.mjs FOLDER_WITH_NODE_MODULES URL ACCOUNT_SID KEY FROM FIRST COUNT
import { createRequire } from "node:module";

const [folder, url, account, key, from, first, count] = process.argv.slice(2);
const twilio = createRequire(`${folder}/`)("twilio");
const client = twilio(account, key);
client.api.baseUrl = url;

const numbers = Array.from({ length: Number(count) }, (_, i) => `+1415${String(Number(first) + i).padStart(7, "0")}`);
const made = [];
async function sendSome() {
  for (let to = numbers.shift(); to; to = numbers.shift()) {
    const message = await client.messages.create({ to, from, body: "Hello from Node" });
    made.push(message.sid);
  }
}
await Promise.all(Array.from({ length: 40 }, sendSome));
const shown = await client.messages(made[0]).fetch();
const listed = await client.messages.list({ limit: 20, pageSize: 10 });
let refused = null;
try {
  await client.messages.create({ to: "12", from, body: "x" });
} catch (error) {
  refused = { status: error.status, code: error.code };
}
console.log(JSON.stringify({ made: new Set(made).size, same: shown.sid === made[0], listed: listed.length, refused }));
