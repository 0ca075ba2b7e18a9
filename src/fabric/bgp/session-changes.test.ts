// Tests of what is told about BGP sessions that come and go.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesInWords, noteChange, parseSessionChange, type SessionStates } from './session-changes.ts';

test('only changes to up, and away from it, are changes of a session', () => {
  const change = (line: string) => parseSessionChange(line);
  assert.deepEqual(change('mesh.node-3.4: State changed to up'), { session: 'mesh.node-3.4', up: true });
  for (const state of ['stop', 'flush', 'down'])
    assert.deepEqual(change(`peer.tor: State changed to ${state}`), { session: 'peer.tor', up: false });
  for (const line of ['peer.tor: State changed to start', 'peer.tor: Shutting down', 'Reconfigured', ''])
    assert.equal(change(line), undefined);
});

test('a session is lost once on its way down, and only after it was up', () => {
  const states: SessionStates = new Map();
  const told = ['down', 'up', 'stop', 'flush', 'down', 'up'].map((state) =>
    noteChange(states, { session: 'a', up: state === 'up' }),
  );
  assert.deepEqual(told, [false, true, true, false, false, true]);
});

test('of many sessions that changed together ten are named', () => {
  const names = Array.from({ length: 12 }, (_, index) => `n${String(index).padStart(2, '0')}`);
  const states: SessionStates = new Map(names.map((name) => [name, 'up' as const]));
  states.set('n03', 'lost');
  assert.deepEqual(changesInWords(states, names), {
    up: 'n00, n01, n02, n04, n05, n06, n07, n08, n09, n10 and 1 more',
    lost: 'n03',
  });
  assert.deepEqual(changesInWords(states, []), {});
});
