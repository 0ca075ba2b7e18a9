// Mutated queries through the whole server: it neither fails nor answers with more than was asked for. WEFT_FUZZ is how
// many there are (1000000 for the long form).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFakeClient } from '../k8s/fake-client.ts';
import { namespaces, services } from '../k8s/resources.ts';
import { createLog } from '../log/log.ts';
import { Engine } from './engine.ts';
import { type } from './records.ts';
import { encodeName, readHeader, readQuery, udpSize, writeQuery } from './wire.ts';

const runs = Number(process.env.WEFT_FUZZ ?? 20_000);
const zone = 'cluster.local';

/** Numbers that look random and are the same each time (mulberry32). */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;
const names = ['web', 'alias', 'loop', '_http._tcp.web', 'none', '10-0-0-1.db']
  .map((name) => `${name}.default.svc.${zone}`)
  .concat(zone, `1-2-3-4.default.pod.${zone}`, 'example.com', '1.0.96.10.in-addr.arpa', long, '');
const types = [type.A, type.AAAA, type.SRV, type.PTR, type.ANY, type.AXFR, type.SOA, 65, 41];
/** Pieces that parsers stumble over: pointers to themselves, forwards and back, labels of unknown kinds, OPT, long names. */
const pieces = [
  ...[
    [0xc0, 0x0c],
    [0xc0, 0x00],
    [0xff, 0xff],
    [0x40, 0x01],
    [0x80],
    [0x3f],
    [0, 0, 41, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff],
  ],
  ...[
    [0, 0, 41, 0, 0, 0, 1, 0x80, 0, 0, 0],
    [0, 250],
    [0, 41],
  ],
].map((octets) => Buffer.from(octets));
pieces.push(Buffer.from(encodeName(long)));

function mutated(below: (limit: number) => number): Buffer {
  let message = writeQuery(below(65_536), names[below(names.length)] ?? '', types[below(types.length)] ?? 1);
  for (let change = below(5); change > 0; change--) {
    const at = below(message.length + 1);
    const piece = pieces[below(pieces.length)] ?? Buffer.alloc(0);
    switch (below(5)) {
      case 0:
        if (at < message.length) message[at] = below(256);
        break;
      case 1:
        message = message.subarray(0, at);
        break;
      case 2:
        message = Buffer.concat([message.subarray(0, at), piece, message.subarray(at)]);
        break;
      case 3:
        message = Buffer.concat([message.subarray(0, at), piece, message.subarray(at + piece.length)]);
        break;
      default:
        // The counts of the header.
        if (message.length > 11) message.writeUInt16BE(below(4) === 0 ? below(65_536) : below(3), 4 + 2 * below(4));
    }
  }
  return Buffer.from(message);
}

/** How large an answer over UDP may be. */
function allowed(message: Buffer): number {
  try {
    return Math.max(512, Math.min(readQuery(message).edns?.size ?? 0, udpSize));
  } catch {
    return 512;
  }
}

test(`${runs} mutated queries neither break the server nor get more than they asked for`, {
  timeout: 1_200_000,
}, async () => {
  const client = createFakeClient();
  await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' }, spec: {} });
  for (const [name, spec] of [
    ['web', { clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }] }],
    ['alias', { type: 'ExternalName', externalName: `web.default.svc.${zone}` }],
    ['loop', { type: 'ExternalName', externalName: `loop.default.svc.${zone}` }],
  ] as const)
    await client.create(services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: 'ports' in spec ? { ...spec, ports: [...spec.ports] } : spec,
    });
  const corefile = `.:53 {\n  errors\n  kubernetes ${zone} in-addr.arpa ip6.arpa {\n    pods insecure\n    fallthrough in-addr.arpa ip6.arpa\n  }\n  loadbalance\n}\n`;
  const engine = new Engine({ client, corefile, log: createLog('dns') });
  await engine.configured;
  const { hot, responder } = engine.answerer(53);
  const below = numbers(7);
  const out = Buffer.alloc(udpSize + 1);
  let answered = 0;
  for (let run = 0; run < runs; run++) {
    const message = mutated(below);
    const given = (reason: string): string => `${reason}, run ${run}: ${message.toString('hex')}`;
    out[udpSize] = 0x5a;
    const written = hot.answer(message, 0, message.length, out, 0, 'udp');
    const reply =
      written > 0
        ? Buffer.from(out.subarray(0, written))
        : await responder.respond(message, 'udp', { address: '10.0.0.1', port: 1 });
    assert.equal(out[udpSize], 0x5a, given('written past the end'));
    if (reply === undefined) continue;
    answered++;
    assert.ok(reply.length <= allowed(message), given(`${reply.length} octets`));
    const header = readHeader(reply);
    assert.equal(header?.id, readHeader(message)?.id, given('another id'));
  }
  assert.ok(answered > runs / 3, `${answered} answers`);
  assert.equal(engine.metrics.panics.value, 0);
  engine.close();
  await client.close();
});
