// Whatever Nodes and settings there are, BIRD reads the configuration that follows from them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { birdConfig } from '../../src/fabric/bgp/bird-config.ts';
import { decideBgp, isPassword } from '../../src/fabric/bgp/decide.ts';
import { readBgpSettings } from '../../src/fabric/bgp/settings.ts';
import { readPeers } from '../../src/fabric/peers.ts';
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

const withoutUndefined = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test('BIRD reads every configuration that is made', { skip: birdIsMissing }, () => {
  const folder = mkdtempSync('/tmp/wt-bird-conf-');
  const file = join(folder, 'bird.conf');
  const clusterCidrs = [asCidr('10.244.0.0/16'), asCidr('fd00:244::/48')];
  try {
    fc.assert(
      fc.property(nodes, settings, fc.string(), (list, document, password) => {
        const input = {
          peers: readPeers(list, { nodeName: list[0]?.metadata.name ?? '', clusterCidrs }),
          nodes: list,
          clusterCidrs,
          settings: readBgpSettings(withoutUndefined(document)),
          passwords: new Map([['key', password]]),
        };
        const { plan, problems } = decideBgp(input);
        assert.ok(plan);
        if (!isPassword(password)) assert.ok(plan.sessions.every((session) => session.password === undefined));
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
