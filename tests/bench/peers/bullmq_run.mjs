// BullMQ with one job per recipient over undici, 128 at once:
//   node bullmq_run.mjs FOLDER_WITH_NODE_MODULES COUNT [SHARE_THAT_WARMS_UP]
import { createRequire } from "node:module";

const [folder, many, share = "0.1"] = process.argv.slice(2);
const { Queue, Worker } = createRequire(`${folder}/`)("bullmq");
const { Pool } = createRequire(`${folder}/`)("undici");

const count = Number(many);
const redis = new URL(process.env.REDIS_URL);
const connection = { host: redis.hostname, port: Number(redis.port), maxRetriesPerRequest: null };
const queue = new Queue("messages", { connection, defaultJobOptions: { removeOnComplete: true } });
await queue.obliterate({ force: true }).catch(() => {});
const retries = { attempts: 5, backoff: { type: "exponential", delay: 1000 } };
for (let first = 0; first < count; first += 500) {
  await queue.addBulk(Array.from({ length: Math.min(500, count - first) }, (_, i) => (
    { name: "message", data: { to: `+1415${String(first + i).padStart(7, "0")}`, body: "hello there, this is an alert" }, opts: retries }
  )));
}

const pool = new Pool(process.env.SINK, { connections: 64, connect: { rejectUnauthorized: false } });
const account = `AC${"0".repeat(32)}`;
const headers = {
  "content-type": "application/x-www-form-urlencoded",
  authorization: `Basic ${Buffer.from(`${account}:token`).toString("base64")}`,
};

async function send(job) {
  const answer = await pool.request({
    path: `/2010-04-01/Accounts/${account}/Messages.json`,
    method: "POST",
    headers,
    body: new URLSearchParams({ To: job.data.to, From: "+15550001111", Body: job.data.body }).toString(),
  });
  return (await answer.body.json()).sid;
}

// Measured as the other peers are: from the first tenth of the messages, which warm it up, to the last; with a
// share of 0 from the worker's start, as Node's compiler finds it.
const warmUp = Math.floor(count * Number(share));
let done = 0, wall = performance.now(), cpu = process.cpuUsage();
function oneMore() {
  done += 1;
  if (done === warmUp) {
    wall = performance.now();
    cpu = process.cpuUsage();
  } else if (done === count) {
    const spent = process.cpuUsage(cpu);
    const seconds = (performance.now() - wall) / 1000;
    console.log(JSON.stringify({ messages: count - warmUp, seconds, cpu_seconds: (spent.user + spent.system) / 1e6 }));
    process.exit(0);
  }
}
new Worker("messages", async (job) => {
  const sid = await send(job);
  oneMore();
  return sid;
}, { connection, concurrency: 128 });
