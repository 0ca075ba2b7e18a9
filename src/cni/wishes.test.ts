// What a runtime may wish for: read in its forms, kept whole over a restart.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asIp, type Mac, parsePort } from '../net/address.ts';
import { parseSettings, parseWishes, type Settings, settingsJson } from './wishes.ts';

const read = (runtimeConfig: object, args: Record<string, string> = {}) => {
  const problems: string[] = [];
  const wishes = parseWishes({ runtimeConfig }, new Map(Object.entries(args)), problems);
  assert.deepEqual(problems, []);
  return wishes;
};

test('the wishes of containerd and podman are understood', () => {
  const wishes = read({
    // containerd's names are not those of the specification.
    portMappings: [{ HostPort: 80, ContainerPort: 8080, Protocol: 'TCP', HostIP: '' }],
    bandwidth: { IngressRate: 1000, IngressBurst: 4294967295, EgressRate: 0, EgressBurst: 0 },
    ips: ['10.0.0.5', 'fd00::5/64'],
    aliases: ['web'],
    mac: '',
  } satisfies object);
  assert.deepEqual(wishes.settings.ports, [{ protocol: 'tcp', hostPort: 80, containerPort: 8080 }]);
  assert.deepEqual(wishes.settings.bandwidth, { ingress: { rate: 1000, burst: 4294967295 } });
  assert.deepEqual(wishes.ips, ['10.0.0.5', 'fd00::5']);
});

test('aliases are a list, or as podman has them a list for each network', () => {
  for (const aliases of [['web'], { weft: ['web'], other: ['x'] }]) {
    const problems: string[] = [];
    const wishes = parseWishes({ name: 'weft', runtimeConfig: { aliases } }, new Map(), problems);
    assert.deepEqual([wishes.settings.aliases, problems], [['web'], []]);
  }
});

test('the runtime goes before CNI_ARGS, and both before the annotation of the pod', () => {
  const annotations = { 'io.kubernetes.cri.pod-annotations': { 'network.weft.dev/ip-addresses': '10.0.0.3' } };
  assert.deepEqual(read({ ...annotations }).ips, ['10.0.0.3']);
  assert.deepEqual(read({ ...annotations }, { IP: '10.0.0.2' }).ips, ['10.0.0.2']);
  assert.deepEqual(read({ ...annotations, ips: ['10.0.0.1'] }, { IP: '10.0.0.2' }).ips, ['10.0.0.1']);
});

test('a host port on every address says no address', () => {
  for (const hostIP of ['0.0.0.0', '::', ''])
    assert.equal(
      read({ portMappings: [{ hostPort: 1, containerPort: 1, hostIP }] }).settings.ports[0]?.hostIp,
      undefined,
    );
});

const port = fc.integer({ min: 1, max: 65535 }).map((number) => parsePort(number) ?? assert.fail());
const limit = fc.record({ rate: fc.integer({ min: 1 }), burst: fc.integer({ min: 1 }) }, { noNullPrototype: true });
const settings: fc.Arbitrary<Settings> = fc.record(
  {
    mac: fc.constant('02:00:00:00:00:01' as Mac),
    ports: fc.array(
      fc.record(
        {
          protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const),
          hostPort: port,
          containerPort: port,
          hostIp: fc.constantFrom(asIp('10.0.0.1'), asIp('fd00::1')),
        },
        { requiredKeys: ['protocol', 'hostPort', 'containerPort'], noNullPrototype: true },
      ),
    ),
    bandwidth: fc.record({ ingress: limit, egress: limit }, { requiredKeys: [], noNullPrototype: true }),
    aliases: fc.array(fc.string()),
  },
  { requiredKeys: ['ports', 'bandwidth', 'aliases'], noNullPrototype: true },
);

test('settings come back from the store as they went in', () => {
  fc.assert(fc.property(settings, (given) => assert.deepEqual(parseSettings(settingsJson(given)), { ...given })));
});
