// What people look at with ./weft dns: the questions live, one line of JSON each, and what is in force. Over HTTP on the
// loopback of the server alone.
import { createServer, type Server } from 'node:http';
import { rcodeName, typeName } from './corefile/values.ts';
import type { QueryEvent, QueryLog } from './query-log.ts';

/** Where it is; on 127.0.0.1, so that pods with a network of their own cannot read what others ask. */
export const queryStreamPort = 9154;
export const queryStreamPath = '/queries';
export const dnsStatusPath = '/status';

/** What is in force at a server. */
export interface DnsServerStatus {
  /** The hash of the Corefile in force (SHA-512, hexadecimal). */
  readonly corefile: string;
  readonly synced: boolean;
  readonly services: number;
  readonly upstreams: readonly {
    readonly address: string;
    readonly state: 'well' | 'in doubt' | 'down' | 'left out';
  }[];
}

/** A question and its answer, as the stream has them. */
export interface QueryLine {
  /** RFC 3339 with milliseconds. */
  readonly time: string;
  readonly client: string;
  readonly port: number;
  readonly transport: 'udp' | 'tcp';
  readonly name: string;
  readonly type: string;
  readonly rcode: string;
  /** How many records the answer section has. */
  readonly answers: number;
  readonly milliseconds: number;
  /** The plugin that answered, and the upstream where one was asked. */
  readonly by: string;
  readonly from?: string;
}

/** What waits for a follower that reads slowly; beyond it lines are left out, and the answers of the server go on. */
const largestBacklog = 1 << 20;

const lineOf = (event: QueryEvent): QueryLine => ({
  time: new Date(event.time).toISOString(),
  client: event.client.address.replace(/^::ffff:/, ''),
  port: event.client.port,
  transport: event.transport,
  name: `${event.name}.`,
  type: typeName(event.type),
  rcode: rcodeName(event.rcode),
  answers: event.answers,
  milliseconds: Math.round(event.seconds * 1e6) / 1000,
  by: event.by,
  ...(event.from !== undefined && { from: event.from }),
});

/** Serves both; rejects with the system's error when the port is taken. 0 takes any free one. */
export function serveQueryStream(log: QueryLog, status: () => DnsServerStatus, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.url === dnsStatusPath) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(status()));
      return;
    }
    if (request.url !== queryStreamPath) {
      response.writeHead(404).end('not found\n');
      return;
    }
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    const end = log.follow((event) => {
      if (response.writableLength < largestBacklog) response.write(`${JSON.stringify(lineOf(event))}\n`);
    });
    response.on('close', end);
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
