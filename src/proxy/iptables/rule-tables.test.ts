// What is written when: only what changed, never twice, and whatever others did is seen.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TableChange } from '../../linux/iptables.ts';
import { removal } from './clean-up.ts';
import { applied } from './fixtures.ts';
import { RuleTables } from './rule-tables.ts';
import type { ServiceRules } from './service-rules.ts';

const fresh = (): RuleTables =>
  new RuleTables({ family: 'IPv4', nodePortAddresses: 'all', localhostNodePorts: true, tcpBeLiberal: false });

const service = (name: string, endpoints: readonly string[], hash = name.padEnd(16, 'A')): ServiceRules => ({
  shared: {
    nat: { services: [`-j KUBE-SVC-${hash}`], nodePorts: [] },
    filter: { services: [], externalServices: [], nodePorts: [], firewall: [] },
  },
  chains: new Map([[`KUBE-SVC-${hash}`, endpoints.map((endpoint) => `-j ${endpoint}`)]]),
});

const named = (changes: readonly TableChange[]): string[] =>
  changes.flatMap(({ table, chains, deleted = [] }) => [
    ...chains.map(({ name }) => `${table} ${name}`),
    ...deleted.map((name) => `${table} -${name}`),
  ]);

describe('a restore', () => {
  test('names the chains of a Service that changed, and shared ones only where their rules change', () => {
    const tables = fresh();
    tables.set('a', service('A', ['ONE']));
    tables.set('b', service('B', ['ONE']));
    const first = tables.plan(new Map());
    first.written();
    assert.deepEqual(tables.plan().changes, []);
    tables.set('a', service('A', ['ONE', 'TWO']));
    const second = tables.plan();
    assert.deepEqual(named(second.changes), ['nat KUBE-SVC-AAAAAAAAAAAAAAAA']);
    second.written();
    tables.set('c', service('C', ['ONE']));
    const third = tables.plan();
    assert.deepEqual(named(third.changes), ['nat KUBE-SERVICES', 'nat KUBE-SVC-CAAAAAAAAAAAAAAA']);
    third.written();
    tables.set('a', undefined);
    assert.deepEqual(named(tables.plan().changes), ['nat KUBE-SERVICES', 'nat -KUBE-SVC-AAAAAAAAAAAAAAAA']);
  });

  test('of everything adds the jumps that are missing and deletes chains of Services that are gone', () => {
    const tables = fresh();
    const { changes } = tables.plan(new Map());
    assert.equal(changes.flatMap(({ prepended = [] }) => prepended).length, 14);
    const kernel = applied(changes);
    kernel.get('nat')?.chains.set('KUBE-SEP-ABCDEFGHIJKLMNOP', ['-j DNAT']);
    kernel.get('nat')?.chains.set('FOREIGN', ['-j RETURN']);
    const again = fresh().plan(kernel).changes;
    assert.deepEqual(
      again.map(({ prepended = [], deleted = [] }) => [prepended.length, deleted]),
      [
        [0, []],
        [0, ['KUBE-SEP-ABCDEFGHIJKLMNOP']],
        [0, []],
      ],
    );
  });

  test('a chain that came and went before it was written is in none', () => {
    const tables = fresh();
    tables.plan(new Map()).written();
    tables.set('a', service('A', ['ONE']));
    tables.set('a', undefined);
    assert.deepEqual(tables.plan().changes, []);
  });
});

describe('an audit', () => {
  const written = () => {
    const tables = fresh();
    tables.set('a', service('A', ['ONE', 'TWO']));
    const { changes, written: done } = tables.plan(new Map());
    done();
    return { tables, kernel: applied(changes) };
  };

  test('finds nothing wrong with what was written, whatever else is there', () => {
    const { tables, kernel } = written();
    kernel.get('nat')?.chains.set('FOREIGN', ['-j RETURN']);
    kernel.get('nat')?.chains.set('OUTPUT', ['-j FOREIGN', ...(kernel.get('nat')?.chains.get('OUTPUT') ?? [])]);
    assert.deepEqual(tables.damages(kernel), []);
  });

  const damages: [string, (nat: Map<string, readonly string[]>) => void, RegExp][] = [
    ['a jump that is gone', (nat) => nat.set('OUTPUT', []), /no way from OUTPUT/],
    ['a chain that was emptied', (nat) => nat.set('KUBE-SVC-AAAAAAAAAAAAAAAA', []), /chain KUBE-SVC-AAAAAAAAAAAAAAAA$/],
    ['a chain that is gone', (nat) => nat.delete('KUBE-SVC-AAAAAAAAAAAAAAAA'), /is gone/],
    ['a rule to another endpoint', (nat) => nat.set('KUBE-SVC-AAAAAAAAAAAAAAAA', ['-j ONE', '-j ONE']), /KUBE-SVC-A/],
    ['a rule more', (nat) => nat.set('KUBE-MARK-MASQ', ['-j MARK --or-mark 0x4000', '-j RETURN']), /KUBE-MARK-MASQ/],
  ];
  for (const [what, damage, said] of damages)
    test(`finds ${what}`, () => {
      const { tables, kernel } = written();
      damage(kernel.get('nat')?.chains ?? assert.fail());
      assert.match(tables.damages(kernel).join('; '), said);
    });

  test('finds a rule with another condition, once it has seen the kernel’s own wording', () => {
    const { tables, kernel } = written();
    assert.deepEqual(tables.damages(kernel), []);
    kernel.get('nat')?.chains.set('KUBE-SVC-AAAAAAAAAAAAAAAA', ['-s 10.0.0.1/32 -j ONE', '-j TWO']);
    assert.match(tables.damages(kernel).join(), /KUBE-SVC-A/);
  });
});

describe('the removal', () => {
  test('takes our chains and the ways into them, and leaves every foreign rule', () => {
    const tables = fresh();
    tables.set('a', service('A', ['ONE']));
    const kernel = applied(tables.plan(new Map()).changes);
    const nat = kernel.get('nat')?.chains ?? assert.fail();
    nat.set('FOREIGN', ['-j RETURN', '-m comment --comment "-j KUBE-SERVICES" -j RETURN']);
    nat.set('OUTPUT', ['-j FOREIGN', ...(nat.get('OUTPUT') ?? [])]);
    const after = applied(removal(kernel, new Set()), kernel);
    assert.deepEqual([...(after.get('nat')?.chains ?? [])].filter(([, rules]) => rules.length > 0).sort(), [
      ['FOREIGN', ['-j RETURN', '-m comment --comment "-j KUBE-SERVICES" -j RETURN']],
      ['OUTPUT', ['-j FOREIGN']],
    ]);
    for (const { chains } of after.values()) for (const chain of chains.keys()) assert.doesNotMatch(chain, /^KUBE-/);
  });

  test('keeps the chains of the mode that follows, and the ways into them', () => {
    const kernel = applied(fresh().plan(new Map()).changes);
    const after = applied(removal(kernel, new Set(['nat KUBE-SERVICES'])), kernel).get('nat')?.chains;
    assert.deepEqual(
      [after?.has('KUBE-SERVICES'), after?.get('OUTPUT')?.length, after?.has('KUBE-NODEPORTS')],
      [true, 1, false],
    );
  });

  test('leaves the rules of a kube-proxy, which nobody marked as ours', () => {
    const kernel = applied(fresh().plan(new Map()).changes);
    kernel.get('mangle')?.chains.set('KUBE-PROXY-CANARY', []);
    assert.deepEqual(removal(kernel, new Set()), []);
  });

  test('leaves KUBE-FIREWALL where a kubelet made it', () => {
    const kernel = applied(fresh().plan(new Map()).changes);
    kernel.get('mangle')?.chains.set('KUBE-KUBELET-CANARY', []);
    assert.ok(applied(removal(kernel, new Set()), kernel).get('filter')?.chains.has('KUBE-FIREWALL'));
  });
});
