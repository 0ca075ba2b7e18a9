import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cri, MethodName } from '../cri/client.ts';
import { createImages } from './images.ts';

/** A runtime with these images, and the calls that it got. */
function runtimeWith(present: string[]): { cri: Cri; calls: MethodName[] } {
  const calls: MethodName[] = [];
  const call = async (method: MethodName, request: { image?: { image?: string } }): Promise<unknown> => {
    calls.push(method);
    const image = request.image?.image ?? '';
    if (method === 'PullImage') present.push(image);
    return { image: present.includes(image) ? { id: image } : null };
  };
  const cri: Cri = { call: call as Cri['call'], follow: () => assert.fail(), close: () => undefined };
  return { cri, calls };
}

const backOff = { initialMs: 10, maxMs: 100 };

test('an image is fetched ahead once, also when it is asked for twice at the same time', async () => {
  const { cri, calls } = runtimeWith([]);
  const images = createImages(cri, backOff);
  await Promise.all([images.prefetch('pause:1'), images.prefetch('pause:1')]);
  assert.deepEqual(calls, ['ImageStatus', 'ImageStatus', 'PullImage']);
});

test('an image that is there is not fetched', async () => {
  const { cri, calls } = runtimeWith(['pause:1']);
  await createImages(cri, backOff).prefetch('pause:1');
  assert.deepEqual(calls, ['ImageStatus']);
});
