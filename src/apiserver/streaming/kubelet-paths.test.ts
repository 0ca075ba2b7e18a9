// The kubelet's paths for what the API server is asked.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kubeletLogPath, kubeletStreamPath, selectedStreams } from './kubelet-paths.ts';

test('exec becomes the kubelet API: its names for the streams, the command in order and escaped', () => {
  const query = new URLSearchParams('command=sh&command=-c&command=echo+a%26b&stdin=true&stdout=1&stderr=false');
  assert.equal(
    kubeletStreamPath({ kind: 'exec', namespace: 'default', pod: 'web', container: 'main', query }),
    '/exec/default/web/main?command=sh&command=-c&command=echo+a%26b&input=1&output=1',
  );
});

test('a terminal has no separate error stream', () => {
  const query = new URLSearchParams('stdin=true&stdout=true&stderr=true&tty=true');
  assert.deepEqual(selectedStreams(query), { stdin: true, stdout: true, stderr: false, tty: true });
});

test('port-forward goes to the pod, and logs pass on their options and nothing else', () => {
  assert.equal(
    kubeletStreamPath({ kind: 'portforward', namespace: 'a', pod: 'web', query: new URLSearchParams() }),
    '/portForward/a/web',
  );
  assert.equal(
    kubeletLogPath('a', 'web', 'main', new URLSearchParams('container=main&follow=true&tailLines=5&x=y')),
    '/containerLogs/a/web/main?follow=true&tailLines=5',
  );
});
