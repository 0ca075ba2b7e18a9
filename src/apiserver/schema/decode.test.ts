import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeBody } from './decode.ts';
import { StatusError } from './errors.ts';

/** As kubectl 1.32 sent it: `kubectl create deployment web --image=nginx --replicas=0 --port=80`. */
const deployment =
  'azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErgBCh8KA3dlYhIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEoYBCAASDAoKCgNhcHASA3dlYhpsChwKABIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEkwSLgoFbmdpbngSBW5naW54KgAyCgoAEAAYUCIAKgBCAGoAcgCAAQCIAQCQAQCiAQAaADIAQgBKAFIAWABgAGgAggEAigEAmgEAwgEAIgIKACgAOAAaDAgAEAAYACAAKAA4ABoAIgA=';

/** `kubectl create service nodeport s --tcp=80:http`. */
const service =
  'azhzAAoNCgJ2MRIHU2VydmljZRJlChsKAXMSABoAIgAqADIAOABCAFoICgNhcHASAXMSQgoeCgc4MC1odHRwEgNUQ1AYUCIKCAEQABoEaHR0cCgAEggKA2FwcBIBcxoAIghOb2RlUG9ydDoAQgBSAFoAYABoABoCCgAaACIA';

const status = (run: () => unknown): number => {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return error.status.code ?? 0;
    throw error;
  }
  return 200;
};

describe('JSON bodies', () => {
  it('names fields that stand twice by their path', () => {
    const body = Buffer.from(
      '{"spec":{"containers":[{"name":"a"},{"name":"b","image":"x","image":"y"}],"a":1,"\\u0061":2}}',
    );
    const { object, duplicates } = decodeBody('application/json; charset=utf-8', body);
    assert.deepEqual(duplicates, ['duplicate field "spec.containers[1].image"', 'duplicate field "spec.a"']);
    assert.deepEqual(object, { spec: { containers: [{ name: 'a' }, { name: 'b', image: 'y' }], a: 2 } });
  });

  it('braces and quotes within strings are no structure', () => {
    const body = Buffer.from(JSON.stringify({ a: '{"a":1,"a":2}', b: 'x\\"', c: { a: '}', b: ']' } }));
    assert.deepEqual(decodeBody(undefined, body).duplicates, []);
  });

  it('refuses what is no JSON object, nests without end, or would change a prototype', () => {
    assert.equal(
      status(() => decodeBody('application/json', Buffer.from('{'))),
      400,
    );
    assert.equal(
      status(() => decodeBody('application/json', Buffer.from('[1]'))),
      400,
    );
    assert.equal(
      status(() => decodeBody('application/json', Buffer.from(`{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`))),
      400,
    );
    assert.equal(
      status(() => decodeBody('application/json', Buffer.from('{"data":{"__proto__":{"x":1}}}'))),
      400,
    );
  });

  it('an unknown media type is a 415', () => {
    assert.equal(
      status(() => decodeBody('application/cbor', Buffer.from('{}'))),
      415,
    );
  });
});

describe('YAML bodies', () => {
  it('reads block YAML and names keys that stand twice', () => {
    const { object, duplicates } = decodeBody('application/yaml', Buffer.from('a: 1\nb:\n  - c: x\na: 2\n'));
    assert.deepEqual(object, { a: 2, b: [{ c: 'x' }] });
    assert.match(duplicates.join(), /line 4: key already set in map/);
  });

  it('an alias bomb and bad YAML are a 400', () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${[...'bcdefgh'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefg'[i]}`).join(',')}]`).join('\n')}\n`;
    assert.equal(
      status(() => decodeBody('application/yaml', Buffer.from(bomb))),
      400,
    );
    assert.equal(
      status(() => decodeBody('application/yaml', Buffer.from('a: [\nb: }'))),
      400,
    );
  });
});

describe('protobuf bodies', () => {
  const decode = (base64: string): unknown =>
    decodeBody('application/vnd.kubernetes.protobuf', Buffer.from(base64, 'base64')).object;

  it('reads what kubectl sends: a zero that is a value stays, a zero that means absent goes', () => {
    assert.deepEqual(decode(deployment), {
      kind: 'Deployment',
      apiVersion: 'apps/v1',
      metadata: { name: 'web', labels: { app: 'web' } },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 'web' } },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'nginx', image: 'nginx', ports: [{ containerPort: 80 }], resources: {} }] },
        },
        strategy: {},
      },
      status: { replicas: 0, updatedReplicas: 0, availableReplicas: 0, unavailableReplicas: 0, readyReplicas: 0 },
    });
  });

  it('reads numbers or names, and nested messages', () => {
    assert.deepEqual(decode(service), {
      kind: 'Service',
      apiVersion: 'v1',
      metadata: { name: 's', labels: { app: 's' } },
      spec: {
        ports: [{ name: '80-http', protocol: 'TCP', port: 80, targetPort: 'http' }],
        selector: { app: 's' },
        type: 'NodePort',
      },
      status: { loadBalancer: {} },
    });
  });

  it('reads DeleteOptions: a grace period of 0 is a value', () => {
    const kind = Buffer.concat([
      Buffer.from([0x0a, 2]),
      Buffer.from('v1'),
      Buffer.from([0x12, 13]),
      Buffer.from('DeleteOptions'),
    ]);
    const raw = Buffer.concat([Buffer.from([0x08, 0, 0x22, 10]), Buffer.from('Foreground')]);
    const body = Buffer.concat([
      Buffer.from('k8s\0'),
      Buffer.from([0x0a, kind.length]),
      kind,
      Buffer.from([0x12, raw.length]),
      raw,
    ]);
    assert.deepEqual(decode(body.toString('base64')), {
      kind: 'DeleteOptions',
      apiVersion: 'v1',
      gracePeriodSeconds: 0,
      propagationPolicy: 'Foreground',
    });
  });

  it('no change of a byte makes it fail otherwise than with a 400', () => {
    const whole = Buffer.from(deployment, 'base64');
    fc.assert(
      fc.property(
        fc.nat(whole.length - 1),
        fc.nat(255),
        fc.nat(whole.length - 1),
        fc.nat(255),
        (at, byte, other, second) => {
          const broken = Buffer.from(whole);
          broken[at] = byte;
          broken[other] = second;
          assert.ok([200, 400].includes(status(() => decode(broken.toString('base64')))));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('what is cut off or no protobuf at all is a 400, at every length', () => {
    const whole = Buffer.from(deployment, 'base64');
    for (let length = 0; length < whole.length; length++) {
      const code = status(() => decode(whole.subarray(0, length).toString('base64')));
      assert.ok(code === 400 || code === 200, `${length}: ${code}`);
    }
    assert.equal(
      status(() => decode(Buffer.from('{"kind":"Pod"}').toString('base64'))),
      400,
    );
  });
});
