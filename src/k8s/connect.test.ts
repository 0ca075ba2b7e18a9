import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ApiError, type Change, type Client, isNotFound } from './client.ts';
import { connect } from './connect.ts';
import { configMaps } from './resources.ts';
import type { ConfigMap } from './types.generated.ts';

type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

/** A small API server whose answers a test decides, and a client of it. */
async function serve(answer: Answer, run: (client: Client, server: Server, problems: string[]) => Promise<void>) {
  const server = createServer((request, response) => answer(request, response, new URL(request.url ?? '', 'http://x')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const problems: string[] = [];
  const client = connect({
    server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    onProblem: (problem) => problems.push(problem),
  });
  try {
    await run(client, server, problems);
  } finally {
    await client.close();
    server.closeAllConnections();
    server.close();
  }
}

const map = (name: string, resourceVersion: string, uid = `uid-${name}`, value = '') => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default', uid, resourceVersion, creationTimestamp: '2026-01-01T00:00:00Z' },
  data: { value },
});
const json = (response: ServerResponse, value: unknown, code = 200): void => {
  response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(value));
};
const list = (resourceVersion: string, ...items: object[]) => ({
  kind: 'ConfigMapList',
  apiVersion: 'v1',
  metadata: { resourceVersion },
  items,
});
const line = (type: string, object: object): string => `${JSON.stringify({ type, object })}\n`;
const summary = ({ type, object }: Change<ConfigMap>): string =>
  `${type} ${object.metadata.name} ${object.data?.value}`;

/** Waits for the so-manieth change of a cache. */
function changesOf(client: Client): { changes: string[]; count(n: number): Promise<void>; stop(): void } {
  const cache = client.cache(configMaps);
  const changes: string[] = [];
  const waiting: { n: number; done: () => void }[] = [];
  cache.subscribe((change) => {
    changes.push(summary(change));
    for (const { n, done } of waiting) if (changes.length >= n) done();
  });
  return {
    changes,
    count: (n) => new Promise((done) => (changes.length >= n ? done() : waiting.push({ n, done }))),
    stop: () => cache.stop(),
  };
}

test('a refused request throws the Status that the server sent', async () => {
  const status = {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    message: 'configmaps "a" not found',
    reason: 'NotFound',
  };
  await serve(
    (_, response) => json(response, status, 404),
    async (client) => {
      const error: unknown = await client.get(configMaps, { namespace: 'default', name: 'a' }).catch((e: unknown) => e);
      assert(isNotFound(error) && error instanceof ApiError);
      assert.equal(error.message, 'configmaps "a" not found');
    },
  );
});

test('a list follows continue tokens and fills in apiVersion and kind', async () => {
  await serve(
    (_, response, url) => {
      const { kind: _k, apiVersion: _a, ...item } = map(url.searchParams.get('continue') ?? 'first', '1');
      const more = url.searchParams.get('continue') === null ? { continue: 'second' } : {};
      json(response, { metadata: { resourceVersion: '7', ...more }, items: [item] });
    },
    async (client) => {
      const { items, resourceVersion } = await client.list(configMaps);
      assert.deepEqual(
        items.map((item) => [item.kind, item.metadata.name]),
        [
          ['ConfigMap', 'first'],
          ['ConfigMap', 'second'],
        ],
      );
      assert.equal(resourceVersion, '7');
    },
  );
});

test('a list whose continue token expired begins again in one piece', async () => {
  await serve(
    (_, response, url) => {
      if (url.searchParams.has('continue')) json(response, { kind: 'Status', reason: 'Expired', code: 410 }, 410);
      else if (url.searchParams.has('limit')) json(response, { metadata: { continue: 'x' }, items: [map('a', '1')] });
      else json(response, list('9', map('a', '1'), map('b', '2')));
    },
    async (client) => {
      const { items } = await client.list(configMaps);
      assert.deepEqual(
        items.map((item) => item.metadata.name),
        ['a', 'b'],
      );
    },
  );
});

test('a watch joins lines and UTF-8 characters that are split over chunks', async () => {
  const bytes = Buffer.from(
    line('ADDED', map('a', '2', 'u', 'grüße €')) + line('MODIFIED', map('a', '3', 'u', '日本')),
  );
  await serve(
    (_, response, url) => {
      if (!url.searchParams.has('watch')) return json(response, list('1'));
      response.writeHead(200, { 'content-type': 'application/json' });
      const step = (at: number): void => {
        if (at < bytes.length) response.write(bytes.subarray(at, at + 1), () => setImmediate(step, at + 1));
      };
      return step(0);
    },
    async (client) => {
      const seen = changesOf(client);
      await seen.count(2);
      assert.deepEqual(seen.changes, ['added a grüße €', 'updated a 日本']);
    },
  );
});

test('after 410 the cache relists and tells exactly what was added, updated and deleted', async () => {
  let lists = 0;
  await serve(
    (_, response, url) => {
      if (url.searchParams.has('watch')) {
        const rv = url.searchParams.get('resourceVersion');
        if (rv === '9') return void response.writeHead(200).flushHeaders();
        return void response.end(line('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }));
      }
      if (lists++ === 0)
        return json(response, list('5', map('stays', '1'), map('goes', '2'), map('changes', '3'), map('reborn', '4')));
      return json(
        response,
        list(
          '9',
          map('stays', '1'),
          map('changes', '6', undefined, 'new'),
          map('comes', '7'),
          map('reborn', '8', 'other'),
        ),
      );
    },
    async (client) => {
      const seen = changesOf(client);
      await seen.count(9);
      assert.deepEqual(seen.changes.slice(4), [
        'deleted goes ',
        'updated changes new',
        'added comes ',
        'deleted reborn ',
        'added reborn ',
      ]);
    },
  );
});

test('a watch that breaks goes on from the last version that was seen, bookmarks included', async () => {
  const asked: (string | null)[] = [];
  await serve(
    (_, response, url) => {
      if (!url.searchParams.has('watch')) return json(response, list('1'));
      asked.push(url.searchParams.get('resourceVersion'));
      response.writeHead(200);
      if (asked.length === 1) response.write(line('ADDED', map('a', '2')), () => response.destroy());
      else if (asked.length === 2)
        response.write(line('BOOKMARK', { kind: 'ConfigMap', metadata: { resourceVersion: '40' } }), () =>
          response.destroy(),
        );
      else response.write(line('MODIFIED', map('a', '41')));
      return undefined;
    },
    async (client) => {
      const seen = changesOf(client);
      await seen.count(2);
      assert.deepEqual(asked, ['1', '2', '40']);
    },
  );
});

test('a cache survives a server that is away and tells what changed meanwhile', async () => {
  let away = true;
  await serve(
    (request, response, url) => {
      if (away) return void request.destroy();
      if (!url.searchParams.has('watch')) return json(response, list('3', map('a', '3')));
      return void response.writeHead(200).flushHeaders();
    },
    async (client) => {
      const cache = client.cache(configMaps);
      assert.equal(cache.isSynced, false);
      setImmediate(() => {
        away = false;
      });
      await cache.synced;
      assert.equal(cache.get({ namespace: 'default', name: 'a' })?.metadata.resourceVersion, '3');
      assert.equal(cache.list('default').length, 1);
      assert.equal(cache.list('other').length, 0);
    },
  );
});

test('a listener that throws is told of and does not end the cache', async () => {
  await serve(
    (_, response, url) => {
      if (!url.searchParams.has('watch')) return json(response, list('1', map('a', '1')));
      return void response.writeHead(200).write(line('MODIFIED', map('a', '2')));
    },
    async (client, _server, problems) => {
      const cache = client.cache(configMaps);
      cache.subscribe(() => {
        throw new Error('broken listener');
      });
      await new Promise<void>((done) =>
        cache.subscribe((change) => {
          if (change.type === 'updated') done();
        }),
      );
      assert.match(problems[0] ?? '', /broken listener/);
    },
  );
});

test('an answer of 429 with Retry-After is asked again', async () => {
  let asked = 0;
  await serve(
    (_, response) => {
      if (asked++ === 0) return void response.writeHead(429, { 'retry-after': '0' }).end();
      return json(response, map('a', '1'));
    },
    async (client) => {
      assert.equal((await client.get(configMaps, { namespace: 'default', name: 'a' })).metadata.name, 'a');
    },
  );
});
