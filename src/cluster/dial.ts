// Dialling inside of a node for processes outside of it: a Unix socket takes "host:port\n", then the connection's bytes;
// or "udp host:port\n", then datagrams.
import { createServer, isIP, type Server, type Socket } from 'node:net';
import { joinStreams } from '../net/join-streams.ts';
import { dial } from './byte-relay.ts';
import { carryDatagrams, type DatagramTarget } from './datagram-relay.ts';

/** An IPv6 host stands in brackets. At most 300 bytes are read before the line's end. */
const longestLine = 300;

/** What a dial line asks for. */
export interface DialTarget {
  readonly protocol: 'tcp' | 'udp';
  readonly host: string;
  readonly port: number;
}

/** The target of a dial line without its line end; undefined where it is not one. Host names are not looked up. */
export function parseDialLine(line: string): DialTarget | undefined {
  const match = /^(udp )?(?:\[([0-9a-f:.]+)\]|([0-9.]+)):(\d{1,5})$/i.exec(line);
  const host = match?.[2] ?? match?.[3];
  const port = Number(match?.[4]);
  if (host === undefined || isIP(host) === 0 || port < 1 || port > 65535) return undefined;
  return { protocol: match?.[1] === undefined ? 'tcp' : 'udp', host, port };
}

export function dialLine(host: string, port: number, protocol: DialTarget['protocol'] = 'tcp'): string {
  const target = host.includes(':') ? `[${host}]:${port}\n` : `${host}:${port}\n`;
  return protocol === 'udp' ? `udp ${target}` : target;
}

/** Whom to connect to for a target; none: it is refused. */
export type ChooseTargets = (target: DialTarget) => readonly DatagramTarget[];

/** What a dial server is told. */
export interface DialOptions {
  readonly choose?: ChooseTargets;
  /** Told who answers datagrams. */
  onAnswer?(target: DatagramTarget): void;
}

/** The server of a node's dial socket; a line that is no address, or a refused connection, ends the connection. */
export function createDialServer(options: DialOptions = {}): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    let read = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      read = Buffer.concat([read, chunk]);
      const end = read.indexOf('\n');
      if (end < 0) {
        if (read.length > longestLine) socket.destroy();
        return;
      }
      socket.off('data', onData);
      socket.pause();
      accept(socket, read.toString('latin1', 0, end), read.subarray(end + 1), options);
    };
    socket.on('data', onData);
    socket.on('error', () => socket.destroy());
  });
}

function accept(socket: Socket, line: string, rest: Buffer, { choose = (one) => [one], onAnswer }: DialOptions): void {
  const target = parseDialLine(line);
  const targets = target === undefined ? [] : choose(target);
  const [first] = targets;
  if (target === undefined || first === undefined) {
    socket.destroy();
    return;
  }
  if (rest.length > 0) socket.unshift(rest);
  if (target.protocol === 'udp') carryDatagrams(socket, targets, onAnswer);
  else joinStreams(socket, dial({ host: first.host, port: first.port }));
}
