// Calls of the runtime: each malformed one gets the specification's code and a message that names what is wrong.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CniError } from './protocol.ts';
import { isInterfaceName, parseRequest, versionForErrors } from './request.ts';
import { noSettings } from './wishes.ts';

const env = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'abc',
  CNI_NETNS: '/run/netns/x',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
};
const config = (more: object = {}): string =>
  JSON.stringify({ cniVersion: '1.0.0', name: 'weft', type: 'weft-cni', ...more });

const refusals: [string, Record<string, string>, string, number, RegExp][] = [
  ['no command', { ...env, CNI_COMMAND: '' }, config(), 4, /CNI_COMMAND is missing/],
  ['an unknown command', { ...env, CNI_COMMAND: 'FOO' }, config(), 4, /FOO/],
  ['a property of Object as command', { ...env, CNI_COMMAND: 'toString' }, config(), 4, /toString/],
  ['all missing variables', { CNI_COMMAND: 'ADD' }, config(), 4, /CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME/],
  ['DEL without a name', { CNI_COMMAND: 'DEL' }, config(), 4, /CNI_CONTAINERID, CNI_IFNAME$/],
  ['a container that is no name', { ...env, CNI_CONTAINERID: '../x' }, config(), 4, /CNI_CONTAINERID/],
  ['an interface that is no name', { ...env, CNI_IFNAME: 'a/b' }, config(), 4, /CNI_IFNAME/],
  ['an interface of 16 bytes', { ...env, CNI_IFNAME: 'x'.repeat(16) }, config(), 4, /CNI_IFNAME/],
  ['text that is not JSON', env, '{', 6, /not JSON/],
  ['a list', env, '[]', 6, /object/],
  ['an unknown version', env, config({ cniVersion: '9.9.9' }), 1, /9\.9\.9/],
  ['a version that is a number', env, config({ cniVersion: 1 }), 1, /cniVersion 1/],
  ['no network name', env, JSON.stringify({ cniVersion: '1.0.0' }), 7, /name/],
  ['a bad network name', env, config({ name: 'a/b' }), 7, /a\/b/],
  ['CHECK without prevResult', { ...env, CNI_COMMAND: 'CHECK' }, config(), 7, /prevResult/],
  [
    'GC without its list in form',
    { ...env, CNI_COMMAND: 'GC' },
    config({ 'cni.dev/valid-attachments': [1] }),
    7,
    /valid-attachments/,
  ],
  [
    'all that is wrong with the variables',
    { CNI_COMMAND: 'ADD', CNI_CONTAINERID: '../x', CNI_IFNAME: 'a/b' },
    config(),
    4,
    /missing: CNI_NETNS; CNI_CONTAINERID '\.\.\/x' is not valid; CNI_IFNAME 'a\/b'/,
  ],
  ['arguments that are no pairs', { ...env, CNI_ARGS: 'A=1;B' }, config(), 4, /CNI_ARGS has 'B'/],
  ['GC without its list', { ...env, CNI_COMMAND: 'GC' }, config(), 7, /valid-attachments/],
  [
    'CHECK without name and prevResult',
    { ...env, CNI_COMMAND: 'CHECK' },
    JSON.stringify({ cniVersion: '1.0.0' }),
    7,
    /name is missing; CHECK needs prevResult/,
  ],
  ['another allocator', env, config({ ipam: { type: 'host-local' } }), 2, /ipam: \{"type":"host-local"\}/],
  ['a device', env, config({ runtimeConfig: { deviceID: 'x' } }), 2, /runtimeConfig\.deviceID: "x"/],
  ['wishes that are no object', env, config({ runtimeConfig: 7 }), 7, /runtimeConfig is not an object \(7\)/],
  [
    'everything that is wrong with the wishes',
    env,
    JSON.stringify({
      cniVersion: '1.0.0',
      runtimeConfig: {
        portMappings: [{ hostPort: 0, containerPort: 70000, protocol: 'icmp', hostIP: 'x' }, 5],
        bandwidth: { ingressRate: 5, egressBurst: -1 },
        ipRanges: [[{ subnet: '10.1.0.0/24', rangeStart: '10.2.0.1' }], {}],
        ips: ['10.1.0.300'],
        mac: '01:00:5e:00:00:01',
        dns: { servers: 'x' },
        aliases: [1],
      },
    }),
    7,
    new RegExp(
      [
        'name is missing',
        'runtimeConfig\\.ips: .10\\.1\\.0\\.300. is not an IP address',
        'runtimeConfig\\.dns\\.servers is not a list of texts \\("x"\\)',
        'portMappings\\[0\\]\\.hostPort must be a port from 1 to 65535 \\(0\\)',
        'portMappings\\[0\\]\\.containerPort .*\\(70000\\)',
        'portMappings\\[0\\]\\.protocol must be tcp, udp or sctp \\("icmp"\\)',
        'portMappings\\[0\\]\\.hostIP is not an IP address',
        'portMappings\\[1\\] is not an object',
        'ingressBurst must be there with ingressRate',
        'egressBurst is not a whole number \\(-1\\)',
        'aliases is not a list of texts',
        'mac: .01:00:5e:00:00:01. is not the hardware address',
        'rangeStart is not an address of the subnet',
        'ipRanges\\[1\\] is not a list',
      ].join('[\\s\\S]*'),
    ),
  ],
  ['a prevResult of wrong form', env, config({ prevResult: { ips: {} } }), 6, /prevResult.ips/],
];

for (const [what, environment, stdin, code, message] of refusals)
  test(`${what} is refused with code ${code}`, () => {
    assert.throws(
      () => parseRequest(environment, stdin),
      (error) => error instanceof CniError && error.code === code && message.test(error.message),
    );
  });

test('ADD is read with its pod from CNI_ARGS', () => {
  const args = 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-1';
  const request = parseRequest({ ...env, CNI_ARGS: args }, config());
  assert.deepEqual(request, {
    command: 'ADD',
    version: '1.0.0',
    network: 'weft',
    attachment: { containerId: 'abc', ifname: 'eth0' },
    netns: '/run/netns/x',
    pod: 'default/web-1',
    wishes: { settings: noSettings, ips: [], ranges: [] },
    previous: undefined,
  });
});

test('DEL, CHECK and GC do not stumble over what ADD would refuse: what is there must be taken away', () => {
  const stdin = config({
    ipam: { type: 'x' },
    runtimeConfig: { mac: 'x' },
    prevResult: {},
    'cni.dev/valid-attachments': [],
  });
  for (const CNI_COMMAND of ['DEL', 'CHECK', 'GC'])
    assert.equal(parseRequest({ ...env, CNI_COMMAND }, stdin).command, CNI_COMMAND);
});

test('DEL needs no namespace', () => {
  const request = parseRequest({ ...env, CNI_COMMAND: 'DEL', CNI_NETNS: '' }, config());
  assert.equal(request.command === 'DEL' && request.netns, undefined);
});

test('GC reads the valid attachments', () => {
  const stdin = config({ 'cni.dev/valid-attachments': [{ containerID: 'a', ifname: 'eth0' }] });
  const request = parseRequest({ ...env, CNI_COMMAND: 'GC' }, stdin);
  assert.deepEqual(request.command === 'GC' && request.valid, [{ containerId: 'a', ifname: 'eth0' }]);
});

test('names of interfaces follow the rule of the kernel', () => {
  for (const name of ['', '.', '..', 'a b', 'a/b', 'a:b', 'x'.repeat(16), 'a\tb'])
    assert.equal(isInterfaceName(name), false);
  for (const name of ['eth0', 'x'.repeat(15), 'net-1.2']) assert.equal(isInterfaceName(name), true);
});

test('an error is written in the version of the call where it can be read, else in the newest', () => {
  assert.equal(versionForErrors(config()), '1.0.0');
  assert.equal(versionForErrors('{'), '1.1.0');
  assert.equal(versionForErrors(config({ cniVersion: '7.0.0' })), '1.1.0');
});

test('whatever comes in, only CniError comes out', () => {
  const anything = fc.record({
    cniVersion: fc.constantFrom('1.0.0', '0.4.0', 'x'),
    name: fc.string(),
    prevResult: fc.jsonValue(),
    runtimeConfig: fc.oneof(fc.jsonValue(), fc.record({ portMappings: fc.jsonValue(), bandwidth: fc.jsonValue() })),
  });
  const command = fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', 'x');
  fc.assert(
    fc.property(command, fc.string(), fc.string(), anything, (CNI_COMMAND, CNI_CONTAINERID, CNI_IFNAME, value) => {
      try {
        parseRequest({ ...env, CNI_COMMAND, CNI_CONTAINERID, CNI_IFNAME }, JSON.stringify(value));
      } catch (error) {
        assert.ok(error instanceof CniError);
      }
    }),
  );
});
