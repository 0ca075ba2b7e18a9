// An authority and its certificates, seen through OpenSSL and TLS as users of them would.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { createServer, get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { children, integer, octets, oid, sequence, time } from './der.ts';
import { ipBytes } from './ip-bytes.ts';
import { certificateExpiry, createCa, createSigningKey, issue } from './pki.ts';

test('an issued certificate carries its names and is verified by its authority', async () => {
  const ca = await createCa('weft-ca');
  const pair = await issue(ca, {
    commonName: 'kube-apiserver',
    organizations: ['a', 'b'],
    usages: ['server', 'client'],
    dnsNames: ['localhost', 'kubernetes.default.svc'],
    ips: ['127.0.0.1', '::1'],
  });
  const cert = new X509Certificate(pair.cert);
  const authority = new X509Certificate(ca.cert);
  assert.equal(authority.ca, true);
  assert.equal(cert.ca, false);
  assert.ok(cert.verify(authority.publicKey));
  assert.ok(cert.checkIssued(authority));
  assert.equal(cert.subject, 'O=a\nO=b\nCN=kube-apiserver');
  assert.equal(cert.issuer, 'CN=weft-ca');
  assert.ok(cert.checkHost('kubernetes.default.svc'));
  assert.ok(cert.checkIP('127.0.0.1'));
  assert.ok(cert.checkIP('::1'));
  assert.deepEqual(cert.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
});

test('mutual TLS works with issued certificates and shows the client who it is', async () => {
  const ca = await createCa('weft-ca');
  const server = await issue(ca, { commonName: 'server', usages: ['server'], ips: ['127.0.0.1'] });
  const client = await issue(ca, { commonName: 'jane', organizations: ['dev'], usages: ['client'] });
  const https = createServer({ ...server, ca: ca.cert, requestCert: true, rejectUnauthorized: true }, (req, res) => {
    const { subject } = (req.socket as TLSSocket).getPeerCertificate();
    res.end(`${subject.CN} ${subject.O}`);
  });
  await new Promise<void>((resolve) => https.listen(0, '127.0.0.1', resolve));
  const { port } = https.address() as AddressInfo;
  const answer = await new Promise<string>((resolve, reject) => {
    get({ host: '127.0.0.1', port, ca: ca.cert, ...client, agent: false }, (res) => {
      res.setEncoding('utf8').once('data', resolve);
    }).on('error', reject);
  });
  https.close();
  assert.equal(answer, 'jane dev');
});

test('a certificate ends when asked, but never after its authority', async () => {
  const ca = await createCa('weft-ca');
  const short = await issue(ca, { commonName: 'x', usages: ['client'], days: 1 });
  const long = await issue(ca, { commonName: 'x', usages: ['client'], days: 100_000 });
  const inOneDay = Date.now() + 86_400_000;
  assert.ok(Math.abs(certificateExpiry(short.cert).getTime() - inOneDay) < 60_000);
  assert.deepEqual(certificateExpiry(long.cert), certificateExpiry(ca.cert));
});

test('a signing key is a pair of PEM texts', async () => {
  const { privateKey, publicKey } = await createSigningKey();
  assert.match(privateKey, /^-----BEGIN PRIVATE KEY-----/);
  assert.match(publicKey, /^-----BEGIN PUBLIC KEY-----/);
});

test('DER lengths, integers, object identifiers and times are in their only form', () => {
  assert.equal(octets(Buffer.alloc(200)).subarray(0, 3).toString('hex'), '0481c8');
  assert.equal(octets(Buffer.alloc(300)).subarray(0, 4).toString('hex'), '0482012c');
  assert.equal(integer(Buffer.from([0, 0, 0x80])).toString('hex'), '02020080');
  assert.equal(integer(Buffer.from([0])).toString('hex'), '020100');
  assert.equal(oid('1.2.840.10045.4.3.2').toString('hex'), '06082a8648ce3d040302');
  assert.equal(time(new Date('2049-12-31T23:59:59Z')).subarray(2).toString(), '491231235959Z');
  assert.equal(time(new Date('2050-01-01T00:00:00Z')).subarray(2).toString(), '20500101000000Z');
});

test('what is written as a sequence is found again as its children', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 })), (contents) => {
      const items = contents.map((content) => octets(content));
      assert.deepEqual(children(sequence(...items)), items);
    }),
  );
});

test('addresses become bytes, and what is no address is refused', () => {
  assert.equal(ipBytes('10.96.0.1').toString('hex'), '0a600001');
  assert.equal(ipBytes('fd00::1').toString('hex'), 'fd000000000000000000000000000001');
  assert.equal(ipBytes('::ffff:1.2.3.4').toString('hex'), '00000000000000000000ffff01020304');
  assert.equal(ipBytes('1:2:3:4:5:6:7:8').toString('hex'), '00010002000300040005000600070008');
  assert.throws(() => ipBytes('localhost'), /is not an IP address/);
});
