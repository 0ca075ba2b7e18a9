// Which upstreams a user may name, how they are written, and which of them the nodes need a relay for.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nameServers } from './dns-relay.ts';
import { decideDnsSettings, forwardTargets, readUpstream, relayedAddresses } from './dns-settings.ts';
import { decideSettings, settingsInConflict } from './settings.ts';
import { SettingsError } from './settings-error.ts';

const dual = decideSettings({ podCidr: '10.244.0.0/16,fd00:10:244::/56' });
const single = decideSettings({});

test('an upstream is written as a Corefile has it, whatever way a user writes it', () => {
  for (const [text, expected] of [
    ['10.0.0.53', '10.0.0.53'],
    ['10.0.0.53:53', '10.0.0.53'],
    ['10.0.0.53#5353', '10.0.0.53:5353'],
    ['dns://10.0.0.53:5353', '10.0.0.53:5353'],
    ['FD00::53', 'fd00::53'],
    ['[fd00::53]', 'fd00::53'],
    ['[fd00::53]:5353', '[fd00::53]:5353'],
    ['fd00::53#5353', '[fd00::53]:5353'],
    ['tls://9.9.9.9', 'tls://9.9.9.9'],
    ['TLS://9.9.9.9%DNS.quad9.net:8853', 'tls://9.9.9.9%dns.quad9.net:8853'],
    ['tls://[fd00::53]%dns.example', 'tls://[fd00::53]%dns.example'],
    [' 10.0.0.53 ,10.0.0.54', '10.0.0.53,10.0.0.54'],
    ['10.0.0.53,10.0.0.53#53', '10.0.0.53'],
    ['host', 'host'],
  ] as const)
    assert.equal(decideDnsSettings({ dnsUpstream: text }, dual).dnsUpstreams.join(), expected);
});

test('what is no upstream, or one that no node could ask, is refused in one line that names it', () => {
  for (const [text, says] of [
    ['', /must be 'host' or addresses/],
    ['dns.google', /'dns\.google': must be/],
    ['https://10.0.0.53', /must be/],
    ['10.0.0.53:0', /must be/],
    ['10.0.0.53:70000', /must be/],
    ['10.0.0.53%name', /must be/],
    ['tls://10.0.0.53%a b', /must be/],
    ['tls://10.0.0.53%a\n}', /must be/],
    ['10.0.0.53 {', /must be/],
    ['0.0.0.0', /no DNS server of others/],
    ['169.254.20.10', /no DNS server of others/],
    ['224.0.0.1', /no DNS server of others/],
    ['10.96.0.10', /the cluster's own DNS/],
    ['fd00::53', /no IPv6/],
    [Array(16).fill('10.0.0.53').join(), /at most 15/],
  ] as const)
    assert.throws(
      () => decideDnsSettings({ dnsUpstream: text }, single),
      (error) =>
        error instanceof SettingsError && says.test(error.message) && !/\n./.test(error.message.replace(text, '')),
      text,
    );
});

test('no text of a user but addresses, ports and names of hosts comes through', () => {
  const parts = [
    '10.0.0.53',
    'fd00::53',
    '[',
    ']',
    'tls://',
    'dns://',
    '%',
    '#',
    ':',
    '53',
    'a.b',
    '{',
    '}',
    '\n',
    ' ',
  ];
  const text = fc.array(fc.constantFrom(...parts), { maxLength: 7 }).map((list) => list.join(''));
  fc.assert(
    fc.property(text, (given) => {
      try {
        for (const upstream of decideDnsSettings({ dnsUpstream: given }, dual).dnsUpstreams) {
          assert.match(upstream, /^(tls:\/\/)?[0-9a-f.:[\]]+(%[a-z0-9._-]+)?(:\d+)?$/);
          assert.deepEqual(decideDnsSettings({ dnsUpstream: [upstream] }, dual).dnsUpstreams, [upstream]);
        }
      } catch (error) {
        if (!(error instanceof SettingsError)) throw error;
      }
    }),
  );
});

test('what is outside of the cluster needs a relay, and what the nodes reach themselves does not', () => {
  const settings = decideSettings({
    dnsUpstream: 'host,10.0.0.53,tls://10.0.0.53,172.18.0.1,10.244.1.7,127.0.0.53:5353',
  });
  assert.deepEqual(
    relayedAddresses(settings, settings).map(({ address, port }) => `${address} ${port}`),
    ['169.254.20.11 53', '10.0.0.53 53', '10.0.0.53 853', '127.0.0.53 5353'],
  );
  assert.equal(forwardTargets(settings.dnsUpstreams)[0], '169.254.20.11');
  assert.deepEqual(relayedAddresses(single, single), []);
});

test('a second up cannot change the upstreams; the same ones are no change', () => {
  const ipv6 = decideSettings({ podCidr: 'fd00:10:244::/56', dnsUpstream: 'fd00::53' });
  assert.deepEqual(settingsInConflict({ dnsUpstream: '[fd00::53]:53' }, ipv6), []);
  assert.deepEqual(settingsInConflict({}, ipv6), []);
  assert.deepEqual(settingsInConflict({ dnsUpstream: 'host' }, ipv6), ['--dns-upstream host (it has fd00::53)']);
  assert.deepEqual(settingsInConflict({ dnsUpstream: 'host' }, single), ['--dns-upstream host (it has none)']);
});

test('the servers of resolv.conf: without any it is the machine itself', () => {
  assert.deepEqual(nameServers('# comment\nnameserver 10.0.0.1\n nameserver fe80::1%eth0\nnameserver ::1\noptions x'), [
    '10.0.0.1',
    '::1',
  ]);
  assert.deepEqual(nameServers(''), ['127.0.0.1']);
  assert.equal(readUpstream('host').kind, 'host');
});
