import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readTaskEvent } from './client.ts';
import { decode, encode } from './codec.ts';

test('messages come back as they were sent', () => {
  const config = fc.record({
    metadata: fc.record({ name: fc.string(), attempt: fc.nat() }),
    args: fc.array(fc.string()),
    labels: fc.dictionary(fc.string(), fc.string()),
    tty: fc.boolean(),
    linux: fc.record({
      resources: fc.record({ cpuShares: fc.maxSafeInteger(), oomScoreAdj: fc.integer({ min: -1000, max: 1000 }) }),
      securityContext: fc.record({ supplementalGroups: fc.array(fc.nat()), maskedPaths: fc.array(fc.string()) }),
    }),
  });
  fc.assert(
    fc.property(config, (sent) => {
      const back = decode('ContainerConfig', encode('ContainerConfig', sent));
      assert.deepEqual({ ...back.labels }, { ...sent.labels });
      assert.deepEqual(back.args, sent.args);
      assert.equal(back.tty, sent.tty);
      assert.equal(back.metadata?.name, sent.metadata.name);
      assert.equal(back.linux?.resources?.oomScoreAdj, sent.linux.resources.oomScoreAdj);
      assert.equal(back.linux?.resources?.cpuShares, sent.linux.resources.cpuShares);
      assert.deepEqual(back.linux?.securityContext?.supplementalGroups, sent.linux.securityContext.supplementalGroups);
    }),
    { numRuns: 50 },
  );
});

test('an enum whose number 0 was left out has its first value, an absent message is null', () => {
  const status = decode('PodSandboxStatus', encode('PodSandboxStatus', { id: 'x', state: 'SANDBOX_READY' }));
  assert.equal(status.state, 'SANDBOX_READY');
  assert.equal(status.network, null);
});

test('known bytes: the encoding is that of protobuf', () => {
  assert.equal(encode('StopContainerRequest', { containerId: 'ab', timeout: 300 }).toString('hex'), '0a02616210ac02');
  assert.equal(encode('LinuxContainerResources', { oomScoreAdj: -1 }).toString('hex'), '28ffffffffffffffffff01');
});

test('unknown fields are passed over, broken bytes are refused', () => {
  const bytes = Buffer.concat([Buffer.from('f80601', 'hex'), encode('StreamResponse', { url: 'u' })]);
  assert.equal(decode('StreamResponse', bytes).url, 'u');
  assert.throws(() => decode('StreamResponse', Buffer.from('0aff', 'hex')), RangeError);
});

test('a value that does not fit its field is refused by name', () => {
  assert.throws(() => encode('ContainerMetadata', { name: 'a', attempt: 1.5 }), /attempt: 1.5 is not a uint32/);
});

test('exits of exec sessions are no exits of containers', () => {
  const envelope = (id: string) =>
    decode(
      'Envelope',
      encode('Envelope', {
        topic: '/tasks/exit',
        event: { typeUrl: 'containerd.events.TaskExit', value: encode('TaskExit', { containerId: 'c', id }) },
      }),
    );
  assert.deepEqual(readTaskEvent(envelope('c')), { type: 'exit', id: 'c' });
  assert.equal(readTaskEvent(envelope('exec-1')), undefined);
});
