// SPDY framing: what is written can be read in any pieces, and header blocks are a zlib stream.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { constants, inflateSync } from 'node:zlib';
import fc from 'fast-check';
import {
  createFrameReader,
  createHeaderWriter,
  dataFrames,
  type Frame,
  goAwayFrame,
  pingFrame,
} from './spdy-frames.ts';

function readInPieces(bytes: Buffer, cuts: readonly number[]): Frame[] {
  const read = createFrameReader();
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).flatMap((end, i) => read(bytes.subarray(at[i], end)));
}

test('frames are read alike, however the connection cuts them', () => {
  const message = fc.record({
    stream: fc.integer({ min: 1, max: 99 }),
    data: fc.uint8Array({ maxLength: 40 }),
    last: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(message), fc.array(fc.nat(), { maxLength: 8 }), (messages, cuts) => {
      const bytes = Buffer.concat([
        pingFrame(2),
        ...messages.flatMap(({ stream, data, last }) => dataFrames(stream, Buffer.from(data), last)),
        goAwayFrame(),
      ]);
      const frames = readInPieces(bytes, cuts);
      assert.deepEqual(frames[0], { type: 'ping', id: 2 });
      assert.deepEqual(frames.at(-1), { type: 'goAway' });
      const sent = messages.flatMap(({ stream, data, last }) => [
        ...[...data].map((byte) => [stream, byte]),
        ...(last ? [[stream, 'end']] : []),
      ]);
      const received = frames.flatMap((frame) =>
        frame.type === 'data'
          ? [...[...frame.data].map((byte) => [frame.stream, byte]), ...(frame.last ? [[frame.stream, 'end']] : [])]
          : [],
      );
      assert.deepEqual(received, sent);
    }),
  );
});

test('more data than a frame can hold becomes several frames, and only the last one ends the stream', () => {
  const frames = dataFrames(5, Buffer.alloc(2 ** 24 + 10), true);
  assert.deepEqual(
    [frames[0]?.readUIntBE(5, 3), frames[0]?.[4], frames[2]?.readUIntBE(5, 3), frames[2]?.[4]],
    [2 ** 24 - 1, 0, 11, 1],
  );
});

test('the header blocks of a connection are one zlib stream, each readable when it has come', () => {
  const write = createHeaderWriter();
  const blocks = [write({ StreamType: 'stdin' }), write({ streamtype: 'error', port: '80' })];
  const plain = inflateSync(Buffer.concat(blocks), { finishFlush: constants.Z_SYNC_FLUSH }).toString('latin1');
  assert.equal(
    plain,
    '\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05stdin\0\0\0\x02\0\0\0\x0astreamtype\0\0\0\x05error\0\0\0\x04port\0\0\0\x0280',
  );
  // Go's inflater hands out its data at an empty block (a sync flush) only.
  for (const block of blocks) assert.equal(block.subarray(-5).toString('hex'), '000000ffff');
});

test('what is not SPDY is refused', () => {
  const read = createFrameReader();
  assert.throws(() => read(Buffer.from([0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff])), /too large/);
});
