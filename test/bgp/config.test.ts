// Whatever Nodes and settings there are, BIRD reads the configuration that follows from them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { birdConfig } from '../../src/fabric/bgp/bird-config.ts';
import { decideBgp } from '../../src/fabric/bgp/decide.ts';
import { isPassword } from '../../src/fabric/bgp/names.ts';
import { readBgpSettings } from '../../src/fabric/bgp/settings.ts';
import { readPeers } from '../../src/fabric/peers.ts';
import type { NodeBGPAnnouncement } from '../../src/k8s/load-balancer.ts';
import type { Node } from '../../src/k8s/types.generated.ts';
import { asCidr } from '../../src/net/address.ts';
import { birdIsMissing } from './lab.ts';

const labels = fc.dictionary(fc.constantFrom('rack', 'role'), fc.constantFrom('a', 'b'));
const selector = labels.map((matchLabels) => ({ matchLabels }));

const nodes = fc
  .uniqueArray(
    fc.record({
      number: fc.integer({ min: 1, max: 250 }),
      labels,
      name: fc.domain(),
      family: fc.constantFrom(4, 6, 46),
    }),
    {
      minLength: 1,
      maxLength: 6,
      selector: ({ number }) => number,
    },
  )
  .map((list) =>
    list.map(({ number, labels: own, name, family }, index): Node => {
      const wanted = (text: string): boolean => (text.includes(':') ? family !== 4 : family !== 6);
      return {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: `n${index}.${name}`, labels: own },
        spec: { podCIDRs: [`10.244.${number}.0/24`, `fd00:244:0:${number}::/64`].filter(wanted) },
        status: {
          addresses: [`172.18.0.${number}`, `fd18::${number}`]
            .filter(wanted)
            .map((address) => ({ type: 'InternalIP', address })),
        },
      };
    }),
  );

const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });

const peers = fc.array(
  fc.record({
    asNumber: fc.integer({ min: 1, max: 4_294_967_294 }),
    advertise: fc.constantFrom('own', 'cluster'),
    accept: fc.array(
      fc.constantFrom('0.0.0.0/0', '::/0', '10.244.0.0/17', '192.0.2.0/24', 'fd00:244::/49', '2001:db8::/32'),
    ),
    nodeSelector: optional(selector),
    multihop: optional(fc.integer({ min: 2, max: 255 })),
    passwordKey: optional(fc.constant('key')),
    ipv6: fc.boolean(),
  }),
  { maxLength: 4 },
);

const settings = fc
  .record({
    asNumber: fc.integer({ min: 1, max: 4_294_967_294 }),
    holdTime: fc.integer({ min: 3, max: 3600 }),
    restartTime: fc.integer({ min: 1, max: 4095 }),
    routeReflectors: fc.array(fc.record({ clusterId: fc.ipV4(), nodeSelector: selector }), { maxLength: 2 }),
    peers,
  })
  .map(({ peers: list, ...rest }) => ({
    ...rest,
    peers: list.map(({ ipv6, ...peer }, index) => ({
      ...peer,
      name: `peer-${index}`,
      address: ipv6 ? `2001:db8::${index + 1}` : `192.0.2.${index + 1}`,
    })),
  }));

/** What a node tells of load balancers: as the part that writes it does, and with what it never writes. */
const announcement = fc.record({
  peers: fc.array(
    fc.record({
      name: fc.constantFrom('metallb-system/tor', 'a/b', `x/${'y'.repeat(80)}`, "'; }"),
      address: fc.constantFrom('192.0.2.1', '203.0.113.9', '2001:db8::99', 'nonsense'),
      asNumber: fc.constantFrom(64512, 4_200_000_000, 0),
      localAsNumber: fc.constantFrom(64512, 65001),
      port: fc.constantFrom(undefined, 1179),
      holdTime: fc.constantFrom(undefined, 3, 90),
      keepaliveTime: fc.constantFrom(undefined, 1),
      multihop: fc.constantFrom(undefined, true),
      password: fc.constantFrom(undefined, 'secret', 'a"b'),
      passwordSecret: fc.constantFrom(undefined, { namespace: 'default', name: 'secret' }),
    }),
    { maxLength: 3 },
  ),
  routes: fc.array(
    fc.record({
      prefix: fc.constantFrom('172.18.250.1/32', '172.18.250.0/24', 'fd00::1/128', 'nonsense'),
      services: fc.constant(['default/web']),
      peers: fc.constantFrom(undefined, ['metallb-system/tor'], ['nobody/knows']),
      localPref: fc.constantFrom(undefined, 0, 150),
      communities: fc.constantFrom(undefined, ['65000:1', 'large:65000:1:2'], ['65000:1);}']),
    }),
    { maxLength: 4 },
  ),
});

const withoutUndefined = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test('BIRD reads every configuration that is made', { skip: birdIsMissing }, () => {
  const folder = mkdtempSync('/tmp/wt-bird-conf-');
  const file = join(folder, 'bird.conf');
  const clusterCidrs = [asCidr('10.244.0.0/16'), asCidr('fd00:244::/48')];
  try {
    fc.assert(
      fc.property(nodes, settings, fc.string(), announcement, (list, document, password, told) => {
        const input = {
          peers: readPeers(list, { nodeName: list[0]?.metadata.name ?? '', clusterCidrs }),
          nodes: list,
          clusterCidrs,
          settings: readBgpSettings(withoutUndefined(document)),
          passwords: new Map([['key', password]]),
          announcement: withoutUndefined(told) as NodeBGPAnnouncement['spec'],
          balancerPasswords: new Map([['default/secret', password]]),
        };
        const { plan, problems } = decideBgp(input);
        assert.ok(plan);
        if (!isPassword(password)) assert.ok(plan.sessions.every((session) => session.password !== password));
        const text = birdConfig(plan, { logFile: '/tmp/x.log' });
        assert.equal(birdConfig(plan, { logFile: '/tmp/x.log' }), text);
        writeFileSync(file, text);
        const { status, stderr } = spawnSync('bird', ['-p', '-c', file], { encoding: 'utf8' });
        assert.equal(status, 0, `${stderr}\n${JSON.stringify(problems)}\n${text}`);
      }),
      { numRuns: 150 },
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
