// How the shim hands over a call, and the shim's quoting.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeAnswer, encodeCall, parseAnswer, parseCall } from './frame.ts';
import { shimSource } from './shim.ts';

const name = fc.stringMatching(/^CNI_[A-Z]{1,12}$/);
const value = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', ''));

test('a call is read as it was written', () => {
  fc.assert(
    fc.property(fc.dictionary(name, value, { noNullPrototype: true }), fc.string(), (env, stdin) => {
      assert.deepEqual(parseCall(encodeCall({ env, stdin })), { env, stdin });
    }),
  );
});

test('a call that was cut off within its variables is not read', () => {
  assert.equal(parseCall(Buffer.from('CNI_COMMAND=ADD')), undefined);
  assert.equal(parseCall(Buffer.from('CNI_COMMAND=ADD\0')), undefined);
  assert.equal(parseCall(Buffer.alloc(0)), undefined);
});

test('an answer is read as it was written, an empty one is none', () => {
  assert.deepEqual(parseAnswer(encodeAnswer({ exitCode: 1, stdout: '{}\n' }).toString()), {
    exitCode: 1,
    stdout: '{}\n',
  });
  assert.equal(parseAnswer(''), undefined);
});

test('a path with quotes cannot become code of the shim', () => {
  const source = shimSource({ socketPath: "/run/it's \\ $x", queueDir: '/q' });
  assert.ok(source.includes("my $socket = '/run/it\\'s \\\\ $x';"));
});
