// The proxy of a node against a real API server, in the network namespace that it runs in, for bench/proxy.ts.
// Usage: proxy-agent.ts SOCKET FOLDER   (the socket of the API server; the folder holds ca.pem, cert.pem, key.pem)
// Prints JSON lines: {"started": ms, "elements": n}, {"rss": bytes} when told "memory", and {"seen": address, "at": ms}
// for each endpoint that the kernel has got since.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { connect } from '../src/k8s/connect.ts';
import { openNft } from '../src/linux/nft-run.ts';
import { asIp } from '../src/net/address.ts';
import { startProxy } from '../src/proxy/start.ts';
import { benchNode } from './proxy-objects.ts';

const [socketPath = '', folder = ''] = process.argv.slice(2);
const pem = (name: string): string => readFileSync(join(folder, `${name}.pem`), 'utf8');
const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
const clock = (): number => performance.timeOrigin + performance.now();

const nft = await openNft();
let started = false;
let peak = 0;
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage().rss);
}, 20);
const begin = performance.now();
await startProxy({
  client: connect({ server: 'https://kubernetes:6443', socketPath, ca: pem('ca'), cert: pem('cert'), key: pem('key') }),
  nodeName: benchNode.name,
  nodeAddresses: benchNode.addresses.map(asIp),
  clusterCidrs: benchNode.clusterCidrs,
  log: pino({ level: process.env.WEFT_LOG ?? 'silent' }, pino.destination(2)),
  nft: {
    ...nft,
    async commit(table, change) {
      await nft.commit(table, change);
      const at = clock();
      if (started)
        for (const { set, value = '' } of change.added)
          if (set === 'endpoints-tcp') say({ seen: value.slice(0, value.indexOf(' ')), at });
    },
  },
});
const { user, system } = process.threadCpuUsage();
say({ started: performance.now() - begin, thread: (user + system) / 1000 });
started = true;
for await (const line of createInterface({ input: process.stdin })) {
  if (line !== 'memory') break;
  await delay(5_000);
  clearInterval(watch);
  say({ ...process.memoryUsage(), peak });
}
process.exit(0);
