// Refusals: kubectl prints here the same kind of error that it prints elsewhere.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, askApi, kubectl, kubectlWith, run } from './tools.ts';

const pod = (name: string, spec: object): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });

const refusals: readonly { readonly rule: string; readonly manifest: string; readonly says: RegExp }[] = [
  {
    rule: 'an unknown field',
    manifest: pod('bad', { containers: [{ name: 'a', image: 'b', imagee: 'c' }] }),
    says: /error validating data|strict decoding error: unknown field "spec.containers\[0\].imagee"/,
  },
  {
    rule: 'a wrong type',
    manifest: JSON.stringify({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'bad' },
      spec: { replicas: 'three' },
    }),
    says: /error validating data|cannot unmarshal|Invalid value/,
  },
  {
    rule: 'a name that is no DNS label',
    manifest: JSON.stringify({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'Bad_Name' },
      spec: { ports: [{ port: 80 }] },
    }),
    says: /The Service "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a DNS-1035 label must consist of/,
  },
  {
    rule: 'a missing field',
    manifest: pod('bad', { containers: [{ name: 'a' }] }),
    says: /The Pod "bad" is invalid: spec.containers\[0\].image: Required value/,
  },
  {
    rule: 'a port out of range',
    manifest: JSON.stringify({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'bad' },
      spec: { ports: [{ port: 99999 }] },
    }),
    says: /spec.ports\[0\].port: Invalid value: 99999: must be between 1 and 65535, inclusive/,
  },
  {
    rule: 'a selector that does not match the template',
    manifest: JSON.stringify({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'bad' },
      spec: {
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'c' } }, spec: { containers: [{ name: 'a', image: 'b' }] } },
      },
    }),
    says: /`selector` does not match template `labels`/,
  },
  {
    rule: 'a kind that nobody serves',
    manifest: JSON.stringify({ apiVersion: 'example.com/v1', kind: 'Loom', metadata: { name: 'bad' } }),
    says: /no matches for kind "Loom" in version "example.com\/v1"/,
  },
];

export function apiErrorTests(): void {
  for (const { rule, manifest, says } of refusals) {
    test(`refused with kubectl's usual words: ${rule}`, async () => {
      const result = await kubectlWith(manifest, 'apply', '-f', '-');
      assert.equal(result.code, 1);
      assert.match(result.stderr, says);
    });
  }

  test('refused: an immutable field, a second creation, a stale update', async () => {
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'fixed' }, spec: { ports: [{ port: 80 }] } };
    await apply(JSON.stringify(service));
    const again = await kubectlWith(JSON.stringify(service), 'create', '-f', '-');
    assert.match(again.stderr, /Error from server \(AlreadyExists\): .*services "fixed" already exists/);
    const patched = await run('kubectl', ['patch', 'service', 'fixed', '-p', '{"spec":{"clusterIP":"10.96.77.77"}}']);
    assert.match(
      patched.stderr,
      /spec.clusterIPs?(\[0\])?: Invalid value: .*(field is immutable|may not change once set)/,
    );
    const stored = JSON.parse(await kubectl('get', 'service', 'fixed', '-o', 'json')) as {
      metadata: { resourceVersion: string };
    };
    await kubectl('label', 'service', 'fixed', 'a=b');
    const stale = await kubectlWith(JSON.stringify(stored), 'replace', '-f', '-');
    assert.match(
      stale.stderr,
      /Error from server \(Conflict\).*the object has been modified; please apply your changes to the latest version/,
    );
    await kubectl('delete', 'service', 'fixed');
  });

  test('a request without a valid certificate or token is 401', async () => {
    for (const token of [undefined, 'nonsense']) {
      const { status, text } = await askApi('/api/v1/namespaces', token);
      assert.equal(status, 401);
      assert.match(text, /"reason":\s*"Unauthorized"/);
    }
  });
}
