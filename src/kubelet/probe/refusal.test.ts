import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { httpGet } from './http.ts';
import { refusal } from './refusal.ts';

test('a refused connection is told as Go tells it', () => {
  const error = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  assert.equal(refusal('10.0.0.1', 80, error), 'dial tcp 10.0.0.1:80: connect: connection refused');
  assert.equal(refusal('[fd00::1]', '80', error), 'dial tcp [fd00::1]:80: connect: connection refused');
  assert.equal(refusal('10.0.0.1', 80, new Error('socket hang up')), 'EOF');
  assert.equal(refusal('10.0.0.1', 80, new Error('other')), 'other');
});

test('an HTTP probe of a port where nobody listens', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert(typeof address === 'object' && address !== null);
  await new Promise((resolve) => server.close(resolve));
  const url = new URL(`http://127.0.0.1:${address.port}/ready`);
  await assert.rejects(httpGet({ url, headers: {} }, 1000), {
    message: `Get "${url}": dial tcp 127.0.0.1:${address.port}: connect: connection refused`,
  });
});
