import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { asIp } from '../../net/address.ts';
import { HotPath } from '../hot-path.ts';
import { type } from '../records.ts';
import type { ZoneView } from '../resolve.ts';
import type { ServiceEntry } from '../service-entry.ts';
import { ServiceTable } from '../service-table.ts';
import { writeQuery } from '../wire.ts';
import { Feed, type FeedMessage, type Switches } from './feed.ts';
import { ThreadView } from './view.ts';

const zone = 'cluster.local';
const http = [{ name: 'http', protocol: 'tcp', number: 80 }];
const on: Switches = { isOn: true, recursionAvailable: false, completedNamespaces: [] };

const viewOf = (table: ServiceTable): ZoneView => ({ zone, ttl: 30, serial: 1, table, namespaceExists: () => true });

function entryOf(name: string, kind: ServiceEntry['kind'], last: number): ServiceEntry {
  const endpoints = [{ ip: asIp(`10.244.0.${last}`), ports: http }];
  const base = { namespace: 'default', name, target: '', ips: [], ports: [], endpoints: [] };
  if (kind === 'alias') return { ...base, kind, target: 'example.com' };
  if (kind === 'headless') return { ...base, kind, endpoints };
  return { ...base, kind, ips: [asIp(`10.96.0.${last}`)], ports: http, endpoints };
}

const out = Buffer.alloc(1232);
function ask(hot: Pick<HotPath, 'answer'>, name: string, qtype: number): string {
  const query = writeQuery(1, name, qtype);
  return out.toString('hex', 0, hot.answer(query, 0, query.length, out, 0, 'udp'));
}

/** What a thread is told goes through a copy, as between threads. */
const copied = (view: ThreadView) => (message: FeedMessage) => view.take(structuredClone(message));

const below = ['', '_http._tcp.', '_tcp.', 'x.'];
const names = ['a', 'b', 'c'];
const questions = names.flatMap((name) => below.map((label) => `${label}${name}.default.svc.${zone}`));
const change = fc.record({
  name: fc.constantFrom(...names),
  kind: fc.constantFrom('address', 'headless', 'alias', undefined),
  last: fc.nat(3),
});

test('a thread gives the answers of the main thread, whenever it begins and whatever changes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 12 }), fc.nat(12), async (changes, begin) => {
      const table = new ServiceTable();
      const main = new HotPath({ view: viewOf(table), recursionAvailable: () => false, isOn: () => true });
      const feed = new Feed(() => on);
      feed.setView(viewOf(table));
      const thread = new ThreadView();
      let end = (): void => {};
      for (const [index, { name, kind, last }] of changes.entries()) {
        if (index === begin) end = feed.follow(copied(thread));
        table.set('default', name, kind === undefined ? undefined : entryOf(name, kind, last));
        if (last === 0) await turn();
      }
      if (begin >= changes.length) end = feed.follow(copied(thread));
      await turn();
      for (const name of questions)
        for (const qtype of [type.A, type.AAAA, type.SRV]) {
          const given = ask(thread.hot, name, qtype);
          const [, service] = /(\w)\.default/.exec(name) ?? [];
          const isEndpoint = name.split('.').length === 6;
          // Names of endpoints below an address are left to the main thread.
          if (isEndpoint && table.get('default', service ?? '')?.kind === 'address') assert.equal(given, '');
          else assert.equal(given, ask(main, name, qtype), `${name} ${qtype}`);
        }
      end();
    }),
    { numRuns: 200 },
  );
});

test('a thread answers nothing while the hot path is off, and before it knows the Services of another zone', async () => {
  let switches = on;
  const feed = new Feed(() => switches);
  const table = new ServiceTable();
  table.set('default', 'a', entryOf('a', 'address', 1));
  feed.setView(viewOf(table));
  const thread = new ThreadView();
  feed.follow(copied(thread));
  const name = `a.default.svc.${zone}`;
  assert.notEqual(ask(thread.hot, name, type.A), '');
  switches = { ...on, isOn: false };
  feed.changed();
  await turn();
  assert.equal(ask(thread.hot, name, type.A), '');
  switches = on;
  feed.changed();
  await turn();
  assert.notEqual(ask(thread.hot, name, type.A), '');
  thread.take({ kind: 'zone', zone: 'other.local', ttl: 5, serial: 1 });
  assert.equal(ask(thread.hot, 'a.default.svc.other.local', type.A), '');
});

test('names that may be completed for a client are left to the main thread', () => {
  const feed = new Feed(() => ({ ...on, completedNamespaces: ['default'] }));
  feed.setView(viewOf(new ServiceTable()));
  const thread = new ThreadView();
  feed.follow(copied(thread));
  assert.equal(ask(thread.hot, `example.com.default.svc.${zone}`, type.A), '');
  assert.notEqual(ask(thread.hot, `example.com.other.svc.${zone}`, type.A), '');
});
