// Large changes in parts: in the end the same, and whole at every moment on the way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { TableChange } from '../../linux/iptables.ts';
import { removal } from './clean-up.ts';
import { applied } from './fixtures.ts';
import { inParts } from './parts.ts';
import { RuleTables } from './rule-tables.ts';
import type { ServiceRules } from './service-rules.ts';

const most = 3;

const hash = (text: string): string => text.toUpperCase().padEnd(16, 'A');

/** A Service that the outside reaches by a firewall, with those endpoints. */
function service(name: string, endpoints: readonly string[]): ServiceRules {
  const [fw, ext, svc] = ['FW', 'EXT', 'SVC'].map((kind) => `KUBE-${kind}-${hash(name)}`);
  const [part, seps] = [`KUBE-SVC-${hash(`${name}P`)}`, endpoints.map((one) => `KUBE-SEP-${hash(`${name}${one}`)}`)];
  return {
    shared: {
      nat: { services: [`-d ${name} -j ${svc}`, `-j ${fw}`], nodePorts: [`-j ${ext}`] },
      filter: { services: [`-d ${name} -j REJECT`], externalServices: [], nodePorts: [], firewall: [] },
    },
    chains: new Map([
      [`${fw}`, [`-j ${ext}`]],
      [`${ext}`, ['-j KUBE-MARK-MASQ', `-j ${svc}`]],
      [`${svc}`, [`-j ${part}`]],
      [part, seps.map((sep) => `-m comment --comment "-j KUBE-SEP-NOWHERE" -j ${sep}`)],
      ...seps.map((sep): [string, string[]] => [sep, ['-j KUBE-MARK-MASQ', '-j DNAT']]),
    ]),
  };
}

type Kernel = ReturnType<typeof applied>;
type World = Readonly<Record<string, readonly string[]>>;

const world = fc.dictionary(
  fc.constantFrom('B', 'C', 'D', 'E'),
  fc.uniqueArray(fc.constantFrom('F', 'G', 'H'), { minLength: 1 }),
);

const targets = (rules: readonly string[]): string[] =>
  rules.flatMap((rule) => / ?-j (KUBE-\S+)$/.exec(rule)?.[1] ?? []);

/** Applies part after part and looks at each step; the kernel at the end. */
function inSteps(changes: readonly TableChange[], before: Kernel, look: (kernel: Kernel) => void): Kernel {
  let kernel = before;
  for (const part of inParts(changes, most)) {
    kernel = applied(part, kernel);
    look(kernel);
  }
  return kernel;
}

/** Every rule leads to a chain that is there. */
function assertWhole(kernel: Kernel): void {
  for (const { chains } of kernel.values())
    for (const [name, rules] of chains) for (const to of targets(rules)) assert.ok(chains.has(to), `${name} -> ${to}`);
}

/** The chains that a packet can come to. */
function reachable({ chains }: { chains: ReadonlyMap<string, readonly string[]> }): Set<string> {
  const found = new Set<string>();
  const visit = (name: string): void => {
    if (found.has(name)) return;
    found.add(name);
    targets(chains.get(name) ?? []).forEach(visit);
  };
  for (const base of ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING', 'FORWARD']) visit(base);
  return found;
}

const sorted = (kernel: Kernel): unknown =>
  [...kernel].map(([table, { chains }]) => [table, [...chains].sort(([a], [b]) => (a < b ? -1 : 1))]).sort();

function changing(tables: RuleTables, from: World, to: World): void {
  for (const name of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const endpoints = to[name];
    tables.set(name, endpoints === undefined ? undefined : service(name, endpoints));
  }
}

const fresh = (): RuleTables =>
  new RuleTables({ family: 'IPv4', nodePortAddresses: 'all', localhostNodePorts: true, tcpBeLiberal: false });

test('a change in parts ends as the change at once; on the way every rule leads somewhere, and chains that are reached are as before or as after', () =>
  fc.assert(
    fc.property(world, world, fc.boolean(), (from, to, anew) => {
      const tables = fresh();
      changing(tables, {}, from);
      const first = tables.plan(new Map());
      const before = inSteps(first.changes, new Map(), assertWhole);
      assert.deepEqual(sorted(before), sorted(applied(first.changes)));
      first.written();
      changing(tables, from, to);
      const { changes } = tables.plan(anew ? before : undefined);
      const after = applied(changes, before);
      const end = inSteps(changes, before, (kernel) => {
        assertWhole(kernel);
        for (const [table, one] of kernel)
          for (const name of reachable(one)) {
            const [was, willBe] = [before, after].map((state) => state.get(table)?.chains.get(name)?.join('\n'));
            assert.ok([was, willBe].includes(one.chains.get(name)?.join('\n')), `${table} ${name}`);
          }
      });
      assert.deepEqual(sorted(end), sorted(after));
    }),
  ));

test('the removal in parts leaves nothing, and first of all the ways in go', () =>
  fc.assert(
    fc.property(world, (from) => {
      const tables = fresh();
      changing(tables, {}, from);
      const kernel = applied(tables.plan(new Map()).changes);
      let looks = 0;
      const end = inSteps(removal(kernel, new Set()), kernel, (now) => {
        assertWhole(now);
        if (looks++ === 0) assert.deepEqual([...reachable(now.get('nat') ?? assert.fail())].length, 5);
      });
      for (const { chains } of end.values())
        assert.deepEqual(
          [...chains.keys()].filter((name) => name.startsWith('KUBE-')),
          [],
        );
    }),
  ));

test('no part has more chains of Services than it may, and a small change is one restore', () => {
  const tables = fresh();
  for (const name of 'BCDEFGHI') tables.set(name, service(name, ['F', 'G']));
  const { changes, written } = tables.plan(new Map());
  for (const part of inParts(changes, most))
    assert.ok(part.every(({ chains }) => chains.filter(({ name }) => /-(SVC|SEP)-/.test(name)).length <= most));
  written();
  tables.set('B', service('B', ['H']));
  const small = tables.plan().changes;
  assert.deepEqual(inParts(small, 100), [small]);
});
