// A process that holds a store of leases, to be killed: does what each line of standard input says, one answer a line.
import { createInterface } from 'node:readline';
import { poolOf } from '../../src/cni/ipam.ts';
import { LeaseStore } from '../../src/cni/lease-store.ts';
import { CniError } from '../../src/cni/protocol.ts';
import { noSettings } from '../../src/cni/wishes.ts';
import { asCidr } from '../../src/net/address.ts';

export interface LeaseStep {
  readonly do: 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'LIST';
  /** The container; of GC those that shall stay. */
  readonly who: readonly string[];
}

/** What the store holds for a container, by its name; of LIST for all. */
export type LeaseAnswer = Readonly<Record<string, readonly string[]>>;

const [file = '', range = ''] = process.argv.slice(2);
const choices = [{ pools: [poolOf(asCidr(range))] }];
const attachment = (containerId: string) => ({ containerId, ifname: 'eth0' });

async function run(store: LeaseStore, step: LeaseStep): Promise<LeaseAnswer> {
  const [who = ''] = step.who;
  switch (step.do) {
    case 'ADD': {
      const wanted = { attachment: attachment(who), network: 'weft', netns: '/x', pod: '', settings: noSettings };
      const lease = store.acquire(wanted, choices);
      await store.durable();
      store.complete(lease);
      return { [who]: lease.addresses };
    }
    case 'DEL':
      store.release(attachment(who));
      return {};
    case 'CHECK':
      return { [who]: store.get(attachment(who))?.addresses ?? [] };
    case 'GC':
      for (const { attachment: held } of store.list()) if (!step.who.includes(held.containerId)) store.release(held);
      return {};
    case 'LIST':
      return Object.fromEntries(store.list().map((lease) => [lease.attachment.containerId, lease.addresses]));
  }
}

if (process.argv[1] === import.meta.filename) {
  const store = new LeaseStore(file, { restMs: 0 });
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = await run(store, JSON.parse(line)).catch((error: unknown) => {
      if (error instanceof CniError) return null;
      throw error;
    });
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
