import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AnswerCache, type CacheOutcome, cacheFamilies, cacheMetrics } from './cache.ts';
import { readCorefile } from './corefile/corefile.ts';
import { readAnswer, type UpstreamAnswer } from './forward/answer.ts';
import type { Outcome } from './forward/forwarder.ts';
import { writePlainRecord } from './message.ts';
import { Registry } from './metrics/registry.ts';
import { writeQuery } from './wire.ts';

const asked = { name: 'example.org', type: 1, class: 1, dnssecOk: false, checkingDisabled: false };

/** An answer as an upstream sends it: addresses, or an SOA alone. */
function answer(
  rcode: number,
  records: { type: number; ttl: number; data: Buffer }[],
  answers: number,
): UpstreamAnswer {
  const query = writeQuery(7, asked.name, asked.type);
  query.writeUInt16BE(0x8180 | rcode, 2);
  query.writeUInt16BE(answers, 6);
  query.writeUInt16BE(records.length - answers, 8);
  query.writeUInt16BE(0, 10);
  const message = Buffer.concat([
    query.subarray(0, -11),
    ...records.map((record) => writePlainRecord({ name: asked.name, class: 1, ...record })),
  ]);
  return readAnswer(message, 7, asked) ?? assert.fail('the answer of the test cannot be read');
}

const address = (ttl: number, last = 1): Outcome => ({
  answer: answer(0, [{ type: 1, ttl, data: Buffer.from([192, 0, 2, last]) }], 1),
  from: 'upstream',
});

/** RFC 2308: names that do not exist come with the SOA of their zone, whose last field is for how long. */
function denial(rcode: number, ttl: number, minimum: number): Outcome {
  const data = Buffer.alloc(22);
  data.writeUInt32BE(minimum, 18);
  return { answer: answer(rcode, [{ type: 6, ttl, data }], 0), from: 'upstream' };
}

const failed: Outcome = { answer: undefined, reason: 'no-answer' };

/** A cache with the lines of a Corefile, a clock, and an upstream that gives what is put there. */
async function start(...lines: string[]) {
  const reading = await readCorefile(`. {\n ${lines.join('\n ')}\n}`);
  const options = reading.config?.blocks[0]?.cache ?? assert.fail(JSON.stringify(reading));
  const registry = new Registry();
  const state = { now: 0, upstream: address(60), asked: 0 };
  const cache = new AnswerCache(options, cacheMetrics(cacheFamilies(registry), 'dns://:53', '.'), () => state.now);
  const get = async (name = asked.name): Promise<CacheOutcome> =>
    await cache.get({ ...asked, name }, async () => {
      state.asked++;
      return state.upstream;
    });
  /** What a client sees after so many seconds: the last octet and the TTL, or the code. */
  const look = async (seconds: number): Promise<string> => {
    state.now = seconds * 1000;
    const found = await get();
    if (found.answer === undefined) return found.reason;
    const [place] = found.answer.places;
    const what = found.answer.answers > 0 ? `.${place?.data.at(-1)}` : `rcode ${found.answer.rcode}`;
    return `${what} for ${found.ttl(place?.ttl ?? 0)}${found.stale ? ', stale' : ''}`;
  };
  return { state, look, registry, get, cache };
}

/** What was begun without being waited for has ended. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('an answer is kept for its TTL, which goes down', async () => {
  const { look, state } = await start('cache');
  assert.deepEqual([await look(0), await look(10), await look(59)], ['.1 for 60', '.1 for 50', '.1 for 1']);
  assert.equal(state.asked, 1);
  state.upstream = address(60, 2);
  assert.deepEqual([await look(60), state.asked], ['.2 for 60', 2]);
});

test('no answer is kept for longer than the Corefile says, and none for less than 5 s', async () => {
  const long = await start('cache 30');
  long.state.upstream = address(3600);
  assert.deepEqual([await long.look(0), await long.look(29), long.state.asked], ['.1 for 3600', '.1 for 1', 1]);
  assert.deepEqual([await long.look(30), long.state.asked], ['.1 for 3600', 2]);
  const short = await start('cache');
  short.state.upstream = address(0);
  await short.look(0);
  assert.deepEqual([await short.look(3), short.state.asked], ['.1 for 2', 1]);
  await short.look(5);
  assert.equal(short.state.asked, 2);
});

test('what does not exist is kept for as long as its SOA says', async () => {
  const { look, state } = await start('cache');
  state.upstream = denial(3, 300, 20);
  assert.match(await look(0), /^rcode 3/);
  await look(19);
  assert.equal(state.asked, 1);
  await look(20);
  assert.equal(state.asked, 2);
});

test('a failure is kept for 5 s, and as long as servfail says', async () => {
  const { look, state } = await start('cache');
  state.upstream = denial(2, 300, 300);
  await look(0);
  await look(4);
  await look(5);
  assert.equal(state.asked, 2);
  const off = await start('cache {', 'servfail 0', '}');
  off.state.upstream = denial(2, 300, 300);
  await off.look(0);
  await off.look(0);
  assert.equal(off.state.asked, 2);
});

test('disable keeps nothing of its kind for its zones', async () => {
  const { look, state } = await start('cache {', 'disable success example.org', '}');
  await look(0);
  await look(1);
  assert.equal(state.asked, 2);
  state.upstream = denial(3, 60, 60);
  await look(2);
  await look(3);
  assert.equal(state.asked, 3);
});

test('a name that is asked often is asked upstream before it expires, and nobody waits', async () => {
  const { look, state } = await start('cache {', 'prefetch 3 1m 10%', '}');
  await look(0);
  await look(20);
  await look(40);
  assert.equal(state.asked, 1);
  state.upstream = address(60, 2);
  assert.equal(await look(55), '.1 for 5');
  await settled();
  assert.equal(state.asked, 2);
  assert.equal(await look(61), '.2 for 54');
});

test('a name that is asked now and then is not', async () => {
  const { look, state } = await start('cache {', 'prefetch 3 10s 10%', '}');
  for (const second of [0, 20, 40, 58]) await look(second);
  await settled();
  assert.equal(state.asked, 1);
});

test('what expired is given for 30 s at a time while it is asked again (RFC 8767)', async () => {
  const { look, state, registry } = await start('cache {', 'serve_stale 1h', '}');
  await look(0);
  state.upstream = failed;
  assert.equal(await look(100), '.1 for 30, stale');
  await settled();
  state.upstream = address(60, 2);
  assert.equal(await look(200), '.1 for 30, stale');
  await settled();
  assert.equal(await look(201), '.2 for 59');
  assert.match(registry.page(), /coredns_cache_served_stale_total\{server="dns:\/\/:53",zones="\."\} 2/);
  state.upstream = failed;
  assert.equal(await look(60 + 3601 + 201), 'no-answer');
});

test('with verify, upstream is asked first', async () => {
  const { look, state } = await start('cache {', 'serve_stale 1h verify', '}');
  await look(0);
  state.upstream = address(60, 2);
  assert.equal(await look(100), '.2 for 60');
  state.upstream = failed;
  assert.equal(await look(200), '.2 for 30, stale');
});

test('a failure does not take the place of an answer that may still be given', async () => {
  const { look, state } = await start('cache {', 'serve_stale 1h verify', '}');
  await look(0);
  state.upstream = denial(2, 60, 60);
  assert.equal(await look(100), '.1 for 30, stale');
  assert.equal(await look(101), '.1 for 30, stale');
});

test('the oldest answer goes when there are too many', async () => {
  const { get, cache, registry } = await start('cache {', 'success 1024', '}');
  for (let index = 0; index < 1030; index++) await get(`n${index}.example.org`);
  assert.equal(cache.size, 1024);
  assert.match(registry.page(), /coredns_cache_evictions_total\{server="dns:\/\/:53",type="success",zones="\."\} 6/);
  assert.match(registry.page(), /coredns_cache_entries\{server="dns:\/\/:53",type="success",zones="\."\} 1024/);
});
