// Editing the user's settings: the peers change, and comments and order stay.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { withoutPeer, withPeer } from './edit-peers.ts';
import { BgpSettingsError } from './settings.ts';

const tor = { name: 'tor', address: '172.18.0.200', asNumber: 64600 };

test('a peer is added to nothing, to other settings, and beside other peers', () => {
  assert.deepEqual(parse(withPeer('', tor)), { peers: [tor] });
  const text = withPeer('# ours\nasNumber: 65000 # as agreed\n', tor);
  assert.match(text, /^# ours\nasNumber: 65000 # as agreed\npeers:\n/);
  const two = withPeer(text, { ...tor, name: 'tor2', address: '172.18.0.201' });
  assert.deepEqual(
    parse(two).peers.map(({ name }: { name: string }) => name),
    ['tor', 'tor2'],
  );
});

test('a peer of the same name is replaced, and one can be taken out', () => {
  const text = withPeer(withPeer('', tor), { ...tor, asNumber: 64601 });
  assert.deepEqual(parse(text), { peers: [{ ...tor, asNumber: 64601 }] });
  assert.deepEqual(parse(withoutPeer(text, 'tor') ?? ''), { peers: [] });
  assert.equal(withoutPeer(text, 'other'), undefined);
});

test('what the settings do not allow is refused', () => {
  assert.throws(() => withPeer('', { ...tor, address: 'router' }), BgpSettingsError);
  assert.throws(() => withPeer('peers: [', tor), BgpSettingsError);
  assert.throws(() => withPeer('- a', tor), BgpSettingsError);
});
