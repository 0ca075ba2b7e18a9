// A process in a namespace that asks many questions at once (asker.pl).
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Network } from './namespaces.ts';

export interface Question {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly address: string;
  readonly port: number;
  /** The address to ask from. */
  readonly source?: string;
}

export class Asker {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, (answer: string) => void>();
  #last = 0;

  /** `from`: the addresses of IPv4 and IPv6 to ask from; the kernel chooses where there are none. */
  constructor(network: Pick<Network, 'spawn'>, namespace: string, from: readonly string[] = []) {
    this.#child = network.spawn(namespace, 'perl', join(import.meta.dirname, 'asker.pl'), ...from);
    if (this.#child.stdout === null) throw new Error('the asker has no output');
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const [id = '', ...answer] = line.split(' ');
      this.#waiting.get(id)?.(answer.join(' '));
      this.#waiting.delete(id);
    });
  }

  /** The answer of the server, or `refused`, `unreachable`, `timeout`, `denied`. */
  ask({ protocol, address, port, source }: Question): Promise<string> {
    const id = String(++this.#last);
    this.#child.stdin?.write(`${[id, protocol, address, port, ...(source === undefined ? [] : [source])].join(' ')}\n`);
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  end(): void {
    this.#child.stdin?.end();
  }
}
