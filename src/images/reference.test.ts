import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatReference, parseReference } from './reference.ts';

test('a short name means docker.io, library and latest', () => {
  const full = (text: string): string => formatReference(parseReference(text));
  assert.equal(full('nginx'), 'docker.io/library/nginx:latest');
  assert.equal(full('bitnami/nginx:1.2'), 'docker.io/bitnami/nginx:1.2');
  assert.equal(full('weft.local/busybox:1'), 'weft.local/busybox:1');
  assert.equal(full('localhost:5000/a/b'), 'localhost:5000/a/b:latest');
  const digest = `sha256:${'0'.repeat(64)}`;
  assert.equal(full(`quay.io/a/b:tag@${digest}`), `quay.io/a/b@${digest}`);
});

test('what is not a name is refused with the text', () => {
  for (const text of ['', 'UPPER', 'a b', 'a:', 'a/../b', 'x.y/', 'a@sha256:12', 'a:t/..']) {
    assert.throws(
      () => parseReference(text),
      (error) => error instanceof RangeError && error.message.includes(`'${text}'`),
      text,
    );
  }
});
