// Which nodes' agents are alive: each tells the others by small datagrams, for Leases in the API are too slow for that.
import { createSocket, type Socket } from 'node:dgram';
import type { Log } from '../log/log.ts';
import { familyOf, type Ip, parseIp } from '../net/address.ts';

export interface LivenessOptions {
  readonly nodeName: string;
  /** The own addresses, one of each family, the main one first. */
  readonly addresses: readonly Ip[];
  readonly log: Log;
  /** Called when a node falls silent or is heard again. */
  readonly onChange: () => void;
}

/** MetalLB's and memberlist's: who has opened it in a firewall for them needs to change nothing. */
export const livenessPort = 7946;
/** So often each node says that it is there, and so long it may be silent, in ms: three of its words may be lost. */
export const livenessTimes = { interval: 400, patience: 1300 } as const;

const greeting = 'weft-lb 1 ';

interface Peer {
  readonly name: string;
  readonly addresses: readonly Ip[];
  heard: number;
  isAlive: boolean;
  timer: NodeJS.Timeout;
}

/**
 * The nodes that are heard. It speaks only while there is something to announce (`active`); a node that was not listened
 * to before is taken for alive until its time is over.
 */
export class Liveness {
  readonly #options: LivenessOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #sockets = new Map<string, Socket>();
  #interval: NodeJS.Timeout | undefined;

  constructor(options: LivenessOptions) {
    this.#options = options;
  }

  isAlive(node: string): boolean {
    return node === this.#options.nodeName || this.#peers.get(node)?.isAlive !== false;
  }

  /** Who is to be spoken with: the other nodes, and nobody while there is nothing to announce. */
  follow(nodes: readonly { readonly name: string; readonly addresses: readonly Ip[] }[], active: boolean): void {
    const wanted = new Map(active ? nodes.map((node) => [node.name, node]) : []);
    wanted.delete(this.#options.nodeName);
    for (const [name, peer] of this.#peers) {
      const node = wanted.get(name);
      if (node !== undefined && String(node.addresses) === String(peer.addresses)) continue;
      clearTimeout(peer.timer);
      this.#peers.delete(name);
    }
    for (const [name, { addresses }] of wanted) if (!this.#peers.has(name)) this.#expect(name, addresses);
    if (this.#peers.size === 0) this.#rest();
    else this.#wake();
  }

  stop(): void {
    for (const { timer } of this.#peers.values()) clearTimeout(timer);
    this.#peers.clear();
    this.#rest();
  }

  #expect(name: string, addresses: readonly Ip[]): void {
    const timer = setTimeout(() => this.#late(peer), livenessTimes.patience);
    const peer: Peer = { name, addresses, heard: performance.now(), isAlive: true, timer };
    this.#peers.set(name, peer);
  }

  /** Where this process itself was held up, words of the others wait in the socket: they are read first. */
  #late(peer: Peer): void {
    setImmediate(() => {
      if (this.#peers.get(peer.name) !== peer || !peer.isAlive) return;
      const left = peer.heard + livenessTimes.patience - performance.now();
      if (left > 0) {
        peer.timer = setTimeout(() => this.#late(peer), left);
        return;
      }
      peer.isAlive = false;
      this.#options.log.warn({ node: peer.name }, 'the node is not heard any more');
      this.#options.onChange();
    });
  }

  #hear(text: string, from: Ip | undefined): void {
    const peer = text.startsWith(greeting) ? this.#peers.get(text.slice(greeting.length)) : undefined;
    if (peer === undefined || from === undefined || !peer.addresses.includes(from)) return;
    peer.heard = performance.now();
    if (peer.isAlive) return;
    peer.isAlive = true;
    peer.timer = setTimeout(() => this.#late(peer), livenessTimes.patience);
    this.#options.log.info({ node: peer.name }, 'the node is heard again');
    this.#options.onChange();
  }

  #wake(): void {
    if (this.#interval !== undefined) return;
    for (const address of this.#options.addresses) this.#listen(address);
    const word = Buffer.from(`${greeting}${this.#options.nodeName}`);
    const speak = (): void => {
      for (const { addresses } of this.#peers.values()) this.#tell(word, addresses);
    };
    this.#interval = setInterval(speak, livenessTimes.interval);
    speak();
  }

  /** In the first family that both have: one way is enough. */
  #tell(word: Buffer, addresses: readonly Ip[]): void {
    const to = addresses.find((address) => this.#sockets.has(familyOf(address)));
    // A word that cannot be sent (no route, no neighbour) is a word that is not heard.
    if (to !== undefined) this.#sockets.get(familyOf(to))?.send(word, livenessPort, to, () => {});
  }

  #listen(address: Ip): void {
    const socket = createSocket({
      type: familyOf(address) === 'IPv4' ? 'udp4' : 'udp6',
      lookup: (name, _, done) => done(null, name, familyOf(address) === 'IPv4' ? 4 : 6),
    });
    this.#sockets.set(familyOf(address), socket);
    socket.on('message', (message, { address: from }) => this.#hear(message.toString('utf8'), parseIp(from)));
    socket.on('error', (error) => {
      this.#options.log.error({ address, port: livenessPort, error: String(error) }, 'nodes cannot be listened to');
      socket.close();
      if (this.#sockets.get(familyOf(address)) === socket) this.#sockets.delete(familyOf(address));
    });
    socket.bind(livenessPort, address);
  }

  #rest(): void {
    clearInterval(this.#interval);
    this.#interval = undefined;
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
  }
}
