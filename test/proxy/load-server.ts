// HTTP servers for tests, in the namespace that it runs in. Arguments: HOST PORT…; it prints `ready` when all listen.
// A line `stop PORT` on standard input ends the server at that port as a well-behaved pod ends: it serves until nobody
// comes any more, and answers what is under way.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { Server as TcpServer } from 'node:net';
import { createInterface } from 'node:readline';

const [host = '', ...ports] = process.argv.slice(2);
/** Who is still on the way arrives within this time, in ms. */
const quietMs = 250;

interface Serving {
  readonly server: Server;
  lastVisit: number;
  stopAt: number;
}

const servers = new Map<string, Serving>();

/** Closes the port when nobody has come for a while; connections that were made are served whatever becomes of it. */
function stop(serving: Serving): void {
  const seen = serving.lastVisit;
  const wait = Math.max(seen, serving.stopAt) + quietMs - performance.now();
  setTimeout(
    // After a time without the processor, those who came meanwhile are heard of only now.
    () =>
      setImmediate(() => setImmediate(() => (serving.lastVisit > seen ? stop(serving) : closePort(serving.server)))),
    Math.max(0, wait),
  );
}

/** As net.Server does it: an HTTP server would hang up on clients that have not asked yet. */
const closePort = (server: Server): unknown => TcpServer.prototype.close.call(server);

for (const port of ports) {
  const server = createServer((_request, response) => response.end(`${host}:${port}\n`));
  const serving: Serving = { server, lastVisit: 0, stopAt: 0 };
  server.on('connection', () => {
    serving.lastVisit = performance.now();
  });
  server.listen({ host, port: Number(port), backlog: 1024 });
  await once(server, 'listening');
  servers.set(port, serving);
}
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [, port = ''] = line.split(' ');
  const serving = servers.get(port);
  if (serving === undefined) continue;
  serving.stopAt = performance.now();
  stop(serving);
}
process.exit(0);
