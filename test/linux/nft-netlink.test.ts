import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { netnsPath } from '../../src/linux/netns.ts';
import {
  type Change,
  type Element,
  type ElementRun,
  type Expr,
  elementKey,
  elementVerdict,
  type KeyPart,
  renderChange,
  type SetDefinition,
} from '../../src/linux/nft.ts';
import { getElements } from '../../src/linux/nft-get.ts';
import { type ForeignWrite, monitorNftables } from '../../src/linux/nft-monitor.ts';
import { type Nft, NftError, openNft } from '../../src/linux/nft-run.ts';
import { asCidr, formatIp, type Ip, parseCidr } from '../../src/net/address.ts';
import { listing, nft as runNft } from './nft-listing.ts';

const [byText, byNetlink] = [`wt-nft-text-${process.pid}`, `wt-nft-netlink-${process.pid}`];

const ip = (header: 'ip' | 'ip6'): Expr => ({ kind: 'payload', header, field: 'saddr' });
const dport: Expr = { kind: 'payload', header: 'th', field: 'dport' };
const meta = (key: 'l4proto' | 'mark' | 'priority' | 'iifname'): Expr => ({ kind: 'meta', key });
const index: Expr = { kind: 'random', modulus: 65_536 };
const hash: Expr = { kind: 'hash', of: ip('ip6'), seed: 1 };

/** A set of every kind of key and value that there is. */
const sets: readonly SetDefinition[] = [
  { name: 'v4', key: [ip('ip')], counter: true },
  { name: 'v6', key: [ip('ip6')] },
  { name: 'ports', key: [dport], value: [ip('ip'), dport] },
  { name: 'protocols', key: [meta('l4proto')], value: [meta('mark')] },
  { name: 'links', key: [meta('iifname'), ip('ip6')] },
  { name: 'names', key: [meta('iifname')] },
  { name: 'classes', key: [ip('ip'), meta('l4proto'), dport], value: [meta('priority')] },
  { name: 'marks', key: [ip('ip6'), meta('l4proto'), dport, meta('mark')], value: 'verdict', counter: true },
  { name: 'runs', key: [ip('ip'), dport, index], value: [ip('ip'), dport] },
  { name: 'runs6', key: [ip('ip6'), dport, index], value: [ip('ip6'), dport] },
  { name: 'sources', key: [ip('ip'), meta('l4proto'), dport, { ...ip('ip') }], interval: true },
  { name: 'sources6', key: [dport, ip('ip6')], interval: true },
  { name: 'ranges', key: [ip('ip')], interval: true },
  { name: 'timed', key: [ip('ip')], timeout: true },
  { name: 'seen', key: [hash, meta('priority')], value: [meta('mark')], dynamicSize: 1024 },
];
const table = { family: 'inet', name: 'weft-test', sets } as const;
const empty: Change = { chains: [], removed: [], added: [] };
const whole: Change = {
  ...empty,
  replace: { sets },
  chains: [
    { name: 'one', rules: [{ statements: [{ do: 'verdict', to: { verdict: 'accept' } }] }] },
    { name: 'a-chain-with-a-long-name-of-fifty-characters-or-so', rules: [] },
  ],
};

const v4 = fc.bigInt({ min: 0x01000000n, max: 0xdfffffffn }).map((value) => formatIp(value, 'IPv4'));
const v6 = fc
  .oneof(
    fc.bigInt({ min: 1n, max: (1n << 128n) - 1n }),
    fc.bigInt({ min: 1n, max: 0xffffn }).map((value) => (0x2001_0db8n << 96n) + value),
  )
  .map((value) => formatIp(value, 'IPv6'));
const number = fc.integer({ min: 0, max: 0xffff_ffff });
const port = fc.integer({ min: 1, max: 65_535 });
const protocol = fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const);
const link = fc.stringMatching(/^[a-z][a-z0-9.]{0,14}$/).map((name) => ({ interface: name }));
const comment = fc.option(fc.stringMatching(/^[A-Za-z0-9/:. ]{1,120}$/), { nil: undefined });
const verdict = fc
  .constantFrom('one', 'a-chain-with-a-long-name-of-fifty-characters-or-so')
  .map((chain) => elementVerdict({ verdict: 'goto', chain }));
const anyVerdict = fc.oneof(
  verdict,
  fc.constantFrom('accept' as const, 'drop' as const, 'return' as const).map((one) => elementVerdict({ verdict: one })),
);
const range = (address: fc.Arbitrary<Ip>, most: number) =>
  fc.tuple(address, fc.integer({ min: 1, max: most })).map(([one, prefix]) => parseCidr(`${one}/${prefix}`) ?? one);

const element = (set: string, key: fc.Arbitrary<readonly KeyPart[]>, value?: fc.Arbitrary<Element['value']>) =>
  fc.tuple(key, value ?? fc.constant(undefined), comment).map(
    ([parts, data, text]): Element => ({
      set,
      key: elementKey(...parts),
      ...(data !== undefined && { value: data }),
      ...(text !== undefined && { comment: text }),
    }),
  );
const lifetime = fc.integer({ min: 100, max: 86_400 }).map((timeout) => ({ timeout, expires: timeout - 50 }));
const classOf = number.map((value) => ({ class: value }));

const anyElement: fc.Arbitrary<Element> = fc.oneof(
  element('v4', fc.tuple(v4)),
  element('v6', fc.tuple(v6)),
  element(
    'ports',
    fc.tuple(port),
    fc.tuple(v4, port).map((parts) => elementKey(...parts)),
  ),
  element(
    'protocols',
    fc.tuple(protocol),
    number.map((one) => elementKey(one)),
  ),
  element('links', fc.tuple(link, v6)),
  element('names', fc.tuple(link)),
  element(
    'classes',
    fc.tuple(v4, protocol, port),
    classOf.map((one) => elementKey(one)),
  ),
  element('marks', fc.tuple(v6, protocol, port, number), anyVerdict),
  element('sources', fc.tuple(v4, protocol, port, range(v4, 32))),
  element('sources6', fc.tuple(port, range(v6, 128))),
  fc.tuple(element('timed', fc.tuple(v4)), lifetime).map(([one, life]) => ({ ...one, lifetime: life })),
  fc
    .tuple(
      element(
        'seen',
        fc.tuple(number, number, classOf),
        number.map((one) => elementKey(one)),
      ),
      lifetime,
    )
    .map(([one, life]) => ({ ...one, key: elementKey(1, { class: 7 }), lifetime: life })),
);
const anyRun: fc.Arbitrary<ElementRun> = fc.oneof(
  fc
    .tuple(v4, port, fc.nat(32_768), fc.array(fc.tuple(v4, port), { minLength: 1, maxLength: 9 }))
    .map(([address, number, first, all]) => ({
      set: 'runs',
      prefix: elementKey(address, number),
      first,
      values: all.map((parts) => elementKey(...parts)),
    })),
  fc
    .tuple(v6, port, fc.nat(32_768), fc.array(fc.tuple(v6, port), { minLength: 1, maxLength: 9 }))
    .map(([address, number, first, all]) => ({
      set: 'runs6',
      prefix: elementKey(address, number),
      first,
      values: all.map((parts) => elementKey(...parts)),
    })),
);
const elements = fc.uniqueArray(anyElement, {
  minLength: 1,
  maxLength: 60,
  selector: ({ set, key }) => `${set} ${key}`,
});
const runs = fc.uniqueArray(anyRun, { maxLength: 5, selector: ({ set, prefix }) => `${set} ${prefix}` });

let netlink: Nft;
before(async () => {
  for (const netns of [byText, byNetlink]) execFileSync('ip', ['netns', 'add', netns]);
  netlink = await openNft(netnsPath(byNetlink));
});
after(() => {
  for (const netns of [byText, byNetlink]) execFileSync('ip', ['netns', 'delete', netns]);
});

/** Writes a change in both ways; what came of it. */
async function both(change: Change): Promise<{ text: unknown[]; netlink: unknown[] }> {
  runNft(byText, renderChange(table, change));
  await netlink.commit(table, change);
  return { text: listing(byText, table), netlink: listing(byNetlink, table) };
}

test('elements that are sent by netlink are those that nft makes of their text', async () => {
  await fc.assert(
    fc.asyncProperty(elements, runs, async (added, addedRuns) => {
      await both(whole);
      const first = await both({ ...empty, added, addedRuns });
      assert.deepEqual(first.netlink, first.text);
      // Some of them go, in one transaction with others that come.
      const removed = added.filter((_, at) => at % 2 === 0).map(({ comment: _, ...one }) => one);
      const second = await both({ ...empty, removed, added: [{ set: 'v4', key: elementKey('0.0.0.7' as Ip) }] });
      assert.deepEqual(second.netlink, second.text);
    }),
    { numRuns: 8 },
  );
});

test('a table that is made anew with many elements, sent in one transaction, is the one that nft makes', async () => {
  const many = fc.sample(elements, 30).flat();
  const added = [...new Map(many.map((one) => [`${one.set} ${one.key}`, one])).values()];
  const addedRuns = Array.from({ length: 1000 }, (_, at) => ({
    set: 'runs',
    prefix: elementKey('10.0.0.1' as Ip, at + 1),
    first: 0,
    values: Array.from({ length: 10 }, (_, index) => elementKey(formatIp(BigInt(index + 1), 'IPv4'), 80)),
  }));
  const ranges = ['10.0.0.0/8', '192.0.2.0/24', '255.255.255.255/32'].map(asCidr);
  const { text, netlink: direct } = await both({
    ...whole,
    added: [...added, ...ranges.map((one) => ({ set: 'ranges', key: elementKey(one) }))],
    addedRuns,
  });
  assert.deepEqual(direct, text);
});

test('elements are found by their keys and listed as they were written; what is not there is not found', async () => {
  await netlink.commit(table, whole);
  const all = new Map(fc.sample(elements, 5).flatMap((some) => some.map((one) => [`${one.set} ${one.key}`, one])));
  const added = [...all.values()].filter((one) => one.lifetime === undefined && !one.key.includes('/'));
  await netlink.commit(table, { ...empty, added });
  for (const definition of sets.filter(({ name }) => name !== 'ranges')) {
    const own = added.filter(({ set }) => set === definition.name);
    const keys = own.map(({ key }) => key);
    const count = definition.counter ? { packets: 0, bytes: 0 } : {};
    const expected = own.map(({ value }) => ({ ...(value !== undefined && { value }), ...count }));
    assert.deepEqual(getElements(netnsPath(byNetlink), table, definition, keys), expected, definition.name);
  }
  const seen = sets.find(({ name }) => name === 'seen');
  assert.ok(seen !== undefined);
  const key = elementKey(1, { class: 0xa60_0001 });
  const held = { set: 'seen', key, value: elementKey(0x57000001), lifetime: { timeout: 10_800, expires: 10_000 } };
  assert.deepEqual(await netlink.elements(table, seen), []);
  await netlink.commit(table, { ...empty, added: [held] });
  const [listed, ...others] = await netlink.elements(table, seen);
  // A moment of it may be over.
  const expires = listed?.lifetime?.expires ?? 0;
  assert.ok(expires > 9_900 && expires <= 10_000, String(expires));
  assert.deepEqual([listed, ...others], [{ ...held, lifetime: { timeout: 10_800, expires } }]);
  assert.deepEqual(await netlink.elements({ family: 'ip', name: 'none' }, seen), []);
  const [v4Set] = sets;
  const absent = elementKey('127.0.0.9' as Ip);
  assert.ok(v4Set !== undefined);
  assert.deepEqual(getElements(netnsPath(byNetlink), table, v4Set, [absent]), [undefined]);
  assert.deepEqual(getElements(netnsPath(byNetlink), { family: 'ip', name: 'none' }, v4Set, [absent]), [undefined]);
});

test('what the kernel refuses is named, and nothing of its transaction is done', async () => {
  await netlink.commit(table, whole);
  const keys = [1, 2, 3].map((last) => elementKey(`10.0.0.${last}` as Ip));
  await netlink.commit(table, { ...empty, added: keys.slice(0, 2).map((key) => ({ set: 'v4', key })) });
  const before = listing(byNetlink, table);
  const gone = {
    ...empty,
    added: [{ set: 'v6', key: elementKey('2001:db8::1' as Ip) }],
    removed: keys.map((key) => ({ set: 'v4', key })),
  };
  await assert.rejects(netlink.commit(table, gone), (error: unknown) => {
    assert.ok(error instanceof NftError);
    assert.equal(
      error.message,
      'the kernel refused: deleting the element { 10.0.0.3 }, set v4 of the table inet weft-test: no such file or directory (ENOENT)',
    );
    return true;
  });
  assert.deepEqual(listing(byNetlink, table), before);
  const unknown = {
    ...empty,
    added: [
      {
        set: 'marks',
        key: elementKey('::1' as Ip, 'tcp', 80, 1),
        value: elementVerdict({ verdict: 'goto', chain: 'nowhere' }),
      },
    ],
  };
  await assert.rejects(netlink.commit(table, unknown), /::1 \. tcp \. 80 \. 1 : goto nowhere \}, set marks .*ENOENT/);
});

test('a transaction that a thread of this process sends is not taken for that of someone else', async () => {
  await netlink.commit(table, whole);
  const heard: ForeignWrite[] = [];
  let told = (): void => {};
  const someone = new Promise<void>((resolve) => {
    told = resolve;
  });
  const end = monitorNftables((written) => {
    heard.push(written);
    told();
  }, netnsPath(byNetlink));
  try {
    const keys = Array.from({ length: 2_500 }, (_, at) => elementKey(formatIp(0x0a000000n + BigInt(at), 'IPv4')));
    await netlink.commit(table, { ...empty, added: keys.map((key) => ({ set: 'v4', key })) });
    runNft(byNetlink, 'add table ip weft-other');
    await someone;
  } finally {
    end();
  }
  assert.deepEqual(heard, [new Set(['ip weft-other'])]);
});

test('a transaction that makes more announcements than a monitor holds is not announced, but for that it was there', async () => {
  await netlink.commit(table, whole);
  const heard: ForeignWrite[] = [];
  const waiting: (() => void)[] = [];
  const next = (): Promise<void> => new Promise((resolve) => waiting.push(resolve));
  const end = monitorNftables((written) => {
    heard.push(written);
    waiting.shift()?.();
  }, netnsPath(byNetlink));
  try {
    const keys = Array.from({ length: 20_000 }, (_, at) => elementKey(formatIp(0x0a000000n + BigInt(at), 'IPv4')));
    const told = next();
    await netlink.commit(table, { ...empty, added: keys.map((key) => ({ set: 'v4', key })) });
    await told;
    assert.deepEqual(heard, [undefined]);
    const foreign = next();
    runNft(byNetlink, 'add table ip weft-another');
    await foreign;
  } finally {
    end();
  }
  assert.deepEqual(heard, [undefined, new Set(['ip weft-another'])]);
});
