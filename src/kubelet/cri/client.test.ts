import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isConnectionLost, isLeftover, isUnavailable, RuntimeError } from './client.ts';

const unknown = 2;
const unavailable = 14;

test('a runtime that is away or has just started is told from one that refuses', () => {
  for (const [code, text] of [
    [unavailable, 'Connection dropped'],
    [unavailable, 'read ECONNRESET'],
    [unavailable, 'write EPIPE'],
    [unavailable, 'No connection established. Last error: connect ECONNREFUSED'],
    [unknown, 'server is not initialized yet'],
  ] as const) {
    assert.ok(isUnavailable(new RuntimeError('ListContainers', code, text)), text);
    assert.ok(isConnectionLost(new RuntimeError('ListContainers', code, text)), text);
  }
  const refused = new RuntimeError('PullImage', unknown, 'failed to pull: not found');
  assert.ok(!isUnavailable(refused) && !isConnectionLost(refused));
  assert.ok(!isConnectionLost(new RuntimeError('PullImage', unavailable, 'the registry is closed')));
});

test('the folder of a snapshot that a killed containerd has left is no fault of the container', () => {
  const renamed = (to: string): string => `failed to rename: rename /a/snapshots/new-40757 ${to}: file exists`;
  const created = `failed to create containerd container: ${renamed('/a/snapshots/49')}`;
  assert.ok(isLeftover(new RuntimeError('CreateContainer', unknown, created)));
  const pulled = `failed to prepare extraction snapshot "extract-1 sha256:0f": ${renamed('/a/snapshots/7')}`;
  assert.ok(isLeftover(new RuntimeError('PullImage', unknown, `failed to pull and unpack image "b:1": ${pulled}`)));
  const other = `failed to create containerd container: ${renamed('/b/49')}`;
  assert.ok(!isLeftover(new RuntimeError('CreateContainer', unknown, other)));
});

test('a name that an unanswered call holds is no fault of the container', () => {
  const text = 'failed to reserve container name "a_b_c_d_0": name "a_b_c_d_0" is reserved for "0f"';
  assert.ok(isLeftover(new RuntimeError('CreateContainer', unknown, text)));
  assert.ok(!isLeftover(new RuntimeError('CreateContainer', unknown, 'no such image')));
});
