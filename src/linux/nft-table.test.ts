import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Change, Element, ElementText, TableName } from './nft.ts';
import { elementKey, elementsOf, elementVerdict } from './nft.ts';
import type { TableOutline } from './nft-outline.ts';
import type { Nft } from './nft-run.ts';
import { NftTable } from './nft-table.ts';

/** A kernel in memory: refuses what the real one refuses. */
class MemoryKernel implements Nft {
  readonly held = new Map<string, ElementText | undefined>();
  readonly chains = new Set<string>();
  readonly changes: Change[] = [];
  readonly dynamic: Element[] = [];
  there = false;
  failures = 0;
  /** What happens while a transaction is under way. */
  meanwhile = (): void => {};

  async commit(_table: TableName, change: Change): Promise<void> {
    this.meanwhile();
    this.meanwhile = () => {};
    if (this.failures-- > 0) throw new Error('refused');
    this.failures = 0;
    if (!this.there && change.replace === undefined) throw new Error('no such table');
    if (change.replace !== undefined) this.held.clear();
    this.there = true;
    this.changes.push(change);
    for (const { name } of change.chains) this.chains.add(name);
    for (const name of change.removedChains ?? []) {
      if (!this.chains.delete(name)) throw new Error(`there is no chain ${name}`);
      if ([...this.held.values()].includes(goto(name))) throw new Error(`the chain ${name} is in use`);
    }
    for (const { set, key } of change.removed)
      if (!this.held.delete(`${set} ${key}`)) throw new Error(`${set} has no ${key}`);
    for (const { set, key, value } of [...change.added, ...(change.addedRuns ?? []).flatMap(elementsOf)]) {
      const id = `${set} ${key}`;
      if (this.held.has(id) && this.held.get(id) !== value) throw new Error(`${id} exists`);
      this.held.set(id, value);
    }
  }

  async remove(): Promise<void> {}
  async outline(): Promise<TableOutline | undefined> {
    const chains = new Map([...this.chains].map((name) => [name, 0]));
    const fingerprint = [...this.chains].join(' ');
    return this.there ? { chains, sets: new Set(['m']), fingerprint } : undefined;
  }

  async elements(): Promise<Element[]> {
    return this.dynamic;
  }
}

const schema = { family: 'ip', name: 'weft-test', sets: [{ name: 'm', key: [], dynamicSize: 9 }], chains: [] } as const;
const goto = (chain: string): ElementText => elementVerdict({ verdict: 'goto', chain });
const element = (key: number, chain: string): Element => ({ set: 'm', key: elementKey(key), value: goto(chain) });
const contribution = (...elements: Element[]) => ({ chains: [], elements });

test('the first write replaces the table, the next ones write differences alone', async () => {
  const kernel = new MemoryKernel();
  const table = new NftTable(schema, kernel);
  table.set('a', contribution(element(1, 'x'), element(2, 'x')));
  assert.equal(await table.apply(), 2);
  table.set('a', contribution(element(1, 'x'), element(2, 'y')));
  assert.equal(await table.apply(), 2);
  assert.equal(await table.apply(), 0);
  assert.deepEqual(
    kernel.changes.map((change) => change.replace !== undefined),
    [true, false],
  );
});

test('an element that two objects want stays until both are gone; the first by name decides', async () => {
  const kernel = new MemoryKernel();
  const table = new NftTable(schema, kernel);
  table.set('b', contribution(element(1, 'of-b')));
  table.set('a', contribution(element(1, 'of-a')));
  await table.apply();
  assert.equal(kernel.held.get('m 1'), goto('of-a'));
  table.set('a', undefined);
  await table.apply();
  assert.equal(kernel.held.get('m 1'), goto('of-b'));
  table.set('b', undefined);
  await table.apply();
  assert.equal(kernel.held.size, 0);
  assert.equal(table.size, 0);
});

test('after a refused transaction everything is written anew', async () => {
  const kernel = new MemoryKernel();
  const table = new NftTable(schema, kernel);
  await table.apply();
  table.set('a', contribution(element(1, 'x')));
  kernel.failures = 1;
  await assert.rejects(table.apply());
  await table.apply();
  assert.equal(kernel.held.get('m 1'), goto('x'));
  assert.notEqual(kernel.changes.at(-1)?.replace, undefined);
});

test('an audit sees a table that is gone, and the next write brings it back with what its dynamic sets held', async () => {
  const kernel = new MemoryKernel();
  const table = new NftTable(schema, kernel);
  table.set('a', contribution(element(1, 'x')));
  await table.apply();
  assert.equal(await table.audit(), true);
  kernel.there = false;
  kernel.dynamic.push({ set: 'm', key: elementKey(7), value: goto('y'), lifetime: { timeout: 10, expires: 3 } });
  assert.equal(await table.audit(), false);
  await table.apply();
  assert.deepEqual([...kernel.held.keys()].sort(), ['m 1', 'm 7']);
});

test('whatever happens, the kernel ends with what the objects want', async () => {
  const setting = fc.record({
    kind: fc.constant('set' as const),
    owner: fc.constantFrom('a', 'b', 'c'),
    elements: fc.array(fc.tuple(fc.nat(4), fc.constantFrom('x', 'y'))),
  });
  const step = fc.oneof(
    setting,
    fc.record({
      kind: fc.constantFrom('apply' as const, 'fail' as const, 'forget' as const),
      meanwhile: fc.array(setting, { maxLength: 3 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const kernel = new MemoryKernel();
      const table = new NftTable(schema, kernel);
      const wanted = new Map<string, Map<number, string>>();
      const set = (owner: string, elements: readonly [number, string][]): void => {
        const unique = new Map(elements);
        wanted.set(owner, unique);
        table.set(owner, contribution(...[...unique].map(([key, chain]) => element(key, chain))));
      };
      for (const one of steps) {
        if (one.kind === 'set') set(one.owner, one.elements);
        else if (one.kind === 'forget') table.invalidate();
        else {
          kernel.failures = one.kind === 'fail' ? 1 : 0;
          kernel.meanwhile = () => {
            for (const { owner, elements } of one.meanwhile) set(owner, elements);
          };
          await table.apply().catch(() => {});
        }
      }
      kernel.failures = 0;
      kernel.meanwhile = () => {};
      await table.apply();
      const expected = new Map<string, ElementText>();
      for (const owner of ['c', 'b', 'a'])
        for (const [key, chain] of wanted.get(owner) ?? []) expected.set(`m ${key}`, goto(chain));
      assert.deepEqual(new Map([...kernel.held].sort()), new Map([...expected].sort()));
      assert.equal(table.size, expected.size);
    }),
    { numRuns: 500 },
  );
});

test('runs: whatever owners set, the kernel ends with the run of the first owner by name', async () => {
  const step = fc.record({
    owner: fc.constantFrom('a', 'b'),
    values: fc.option(fc.array(fc.constantFrom('x', 'y', 'z'), { maxLength: 5 })),
    apply: fc.boolean(),
    fail: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const kernel = new MemoryKernel();
      const table = new NftTable(schema, kernel);
      const wanted = new Map<string, readonly string[]>();
      for (const { owner, values, apply, fail } of steps) {
        const run = { set: 'm', prefix: elementKey(7), first: 3, values: (values ?? []).map(goto) };
        table.set(owner, values === null ? undefined : { chains: [], elements: [], runs: [run] });
        if (values === null) wanted.delete(owner);
        else wanted.set(owner, values);
        kernel.failures = fail ? 1 : 0;
        if (apply) await table.apply().catch(() => {});
      }
      kernel.failures = 0;
      await table.apply();
      const values = wanted.get('a') ?? wanted.get('b') ?? [];
      const expected = values.map((value, index) => [`m 7 . ${3 + index}`, goto(value)] as const);
      assert.deepEqual(new Map([...kernel.held].sort()), new Map(expected));
      assert.equal(table.size, values.length);
    }),
  );
});

test('a run stands for elements whose keys count up', () => {
  const run = { set: 'm', prefix: elementKey(1), first: 3, values: [goto('x'), goto('y')] };
  assert.deepEqual(
    elementsOf(run).map(({ key, value }) => `${key} : ${value}`),
    ['1 . 3 : goto x', '1 . 4 : goto y'],
  );
});

test('chains that nobody needs any more are deleted by the next tidying, and come back when they are needed', async () => {
  const kernel = new MemoryKernel();
  const table = new NftTable(schema, kernel);
  const using = (...names: string[]) => ({
    chains: names.map((name) => ({ name, rules: [] })),
    elements: names.map((name, index) => element(index, name)),
  });
  table.set('a', using('n1', 'n2'));
  table.set('b', using('n2'));
  await table.apply();
  table.set('a', undefined);
  assert.equal(await table.tidy(), 0);
  await table.apply();
  assert.equal(await table.tidy(), 1);
  assert.deepEqual([...kernel.chains], ['n2']);
  table.set('c', using('n1'));
  await table.apply();
  assert.deepEqual([...kernel.chains], ['n2', 'n1']);
  assert.deepEqual(table.idleChains, []);
});
