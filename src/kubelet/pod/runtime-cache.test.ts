import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from '../../log/log.ts';
import type { Cri, MethodName } from '../cri/client.ts';
import { lostExits } from './lost-exits.ts';
import { startRuntimeCache } from './runtime-cache.ts';

test('a task that has stopped while CRI says running is an end that was missed; all other states may pass by', () => {
  const sandboxes = [
    { id: 's1', state: 'SANDBOX_READY' },
    { id: 's2', state: 'SANDBOX_NOTREADY' },
    { id: 's3', state: 'SANDBOX_READY' },
  ] as const;
  const containers = [
    { id: 'c1', state: 'CONTAINER_RUNNING' },
    { id: 'c2', state: 'CONTAINER_EXITED' },
    { id: 'c3', state: 'CONTAINER_CREATED' },
    { id: 'c4', state: 'CONTAINER_RUNNING' },
    { id: 'c5', state: 'CONTAINER_RUNNING' },
  ] as const;
  const tasks = [
    ...['s1', 's2', 'c1', 'c2', 'c3', 'other'].map((id) => ({ id, status: 'STOPPED' as const })),
    ...['s3', 'c4'].map((id) => ({ id, status: 'RUNNING' as const })),
  ];
  assert.deepEqual(lostExits(sandboxes, containers, tasks), ['s1', 'c1']);
});

/** The ends that were told as missed in four looks, at which CRI says "running" and the task is in these states. */
async function toldAfter(statuses: readonly ('RUNNING' | 'STOPPED')[]): Promise<(readonly string[])[]> {
  const told: (readonly string[])[] = [];
  let look = 0;
  let finish: () => void = () => undefined;
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const call = async (method: MethodName): Promise<unknown> => {
    if (method === 'ListPodSandbox') return { items: [] };
    if (method === 'ListContainers') return { containers: [{ id: 'c1', state: 'CONTAINER_RUNNING', labels: {} }] };
    assert.equal(method, 'List');
    const status = statuses[look++];
    if (look === statuses.length) setImmediate(finish);
    return { tasks: [{ id: 'c1', status }] };
  };
  const cri: Cri = {
    call: call as Cri['call'],
    follow(_onEvent, onConnect) {
      onConnect();
      return { stop: () => undefined };
    },
    close: () => undefined,
  };
  const cache = startRuntimeCache({
    cri,
    log: createLog('test'),
    onChange: () => undefined,
    onLostExit: (ids) => told.push(ids),
    latePauses: statuses.map((_, index) => index + 1),
  });
  await finished;
  cache.stop();
  return told;
}

test('an end that the runtime has missed at two looks is told, and told once', async () => {
  assert.deepEqual(await toldAfter(['RUNNING', 'STOPPED', 'STOPPED', 'STOPPED']), [['c1']]);
});

test('an end that the runtime is about to see is not told', async () => {
  assert.deepEqual(await toldAfter(['STOPPED', 'RUNNING', 'STOPPED', 'RUNNING']), []);
});
