// What may be written about BGP, and how mistakes are told.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { BgpSettingsError, defaultBgpSettings, readBgpSettings } from './settings.ts';

const problems = (document: unknown): string[] => {
  try {
    readBgpSettings(document);
  } catch (error) {
    assert.ok(error instanceof BgpSettingsError);
    return error.message.split('\n');
  }
  return [];
};

test('nothing written means a mesh in one AS without outside routers', () => {
  assert.deepEqual(readBgpSettings(null), defaultBgpSettings);
  assert.deepEqual(readBgpSettings({}), defaultBgpSettings);
});

test('every field is read', () => {
  const text = `
asNumber: 4200000000
holdTime: 30
restartTime: 120
routeReflectors:
  - { clusterId: 10.0.0.1, nodeSelector: { matchLabels: { role: rr } } }
peers:
  - name: tor
    address: fd18::200
    asNumber: 64600
    nodeSelector: { matchExpressions: [{ key: rack, operator: In, values: [a, b] }] }
    advertise: cluster
    accept: [2001:db8::/32]
    multihop: 3
    passwordKey: tor-1
`;
  assert.deepEqual(readBgpSettings(parse(text)), {
    asNumber: 4_200_000_000,
    holdTime: 30,
    restartTime: 120,
    routeReflectors: [{ clusterId: '10.0.0.1', nodeSelector: { matchLabels: { role: 'rr' } } }],
    peers: [
      {
        name: 'tor',
        address: 'fd18::200',
        asNumber: 64600,
        nodeSelector: { matchExpressions: [{ key: 'rack', operator: 'In', values: ['a', 'b'] }] },
        advertise: 'cluster',
        accept: ['2001:db8::/32'],
        multihop: 3,
        passwordKey: 'tor-1',
      },
    ],
  });
});

test('all mistakes are told at once, each with its field, its value and the rule', () => {
  const peer = { name: 'tor', address: '172.18.0.200', asNumber: 64600 };
  assert.deepEqual(
    problems({
      asNumber: 0,
      holdTime: '9',
      colour: 'red',
      routeReflectors: [{ clusterId: 'fd00::1' }],
      peers: [
        { ...peer, name: 'To"r', address: '172.18.0.201', accept: ['10.0.0.0/33'], advertise: 'all' },
        peer,
        { ...peer, multihop: 1, nodeSelector: { matchExpressions: [{ key: 'a', operator: 'Like' }] } },
        'tor',
      ],
    }),
    [
      'colour: is not known; there are asNumber, holdTime, restartTime, routeReflectors, peers',
      'asNumber: 0: must be a whole number from 1 to 4294967294',
      'holdTime: "9": must be a whole number from 3 to 3600',
      'routeReflectors[0].clusterId: "fd00::1": must look like 10.0.0.1',
      'routeReflectors[0].nodeSelector: is required',
      'peers[0].name: "To\\"r": must be a DNS label of at most 40 characters',
      "peers[0].advertise: \"all\": must be 'own' or 'cluster'",
      'peers[0].accept[0]: "10.0.0.0/33": must be a range such as 10.0.0.0/8',
      'peers[2].nodeSelector: "Like" is not a valid label selector operator',
      'peers[2].multihop: 1: must be a whole number from 2 to 255',
      'peers[3]: "tor": must be fields such as name',
      'peers[3].name: must be a DNS label of at most 40 characters',
      'peers[3].address: must be an IP address',
      'peers[3].asNumber: must be a whole number from 1 to 4294967294',
      'peers[2].name: "tor": is that of peers[1] already',
      'peers[2].address: "172.18.0.200": is that of peers[1] already',
    ],
  );
});

test('whatever is written, the answer is settings or mistakes that are told', () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => void problems(value)));
  fc.assert(
    fc.property(
      fc.record({ peers: fc.array(fc.jsonValue()), routeReflectors: fc.array(fc.jsonValue()) }),
      (value) => void problems(value),
    ),
  );
});
