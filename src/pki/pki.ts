// The cluster's certificates: an authority, what it issues, and the key that signs ServiceAccount tokens.
// All keys are ECDSA P-256. Certificates follow RFC 5280 as far as OpenSSL and Go's crypto/x509 ask for it.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { promisify } from 'node:util';
import { bits, boolean, children, element, integer, octets, oid, sequence, set, time, utf8 } from './der.ts';
import { ipBytes } from './ip-bytes.ts';

/** A certificate and the private key to it, both PEM (the key as PKCS #8). */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateRequest {
  /** The subject's CN: for Kubernetes the user's name. */
  readonly commonName: string;
  /** The subject's O: for Kubernetes the user's groups. */
  readonly organizations?: readonly string[];
  readonly usages: readonly ('server' | 'client')[];
  /** Subject alternative names; a server certificate needs every name and address by which it is called. */
  readonly dnsNames?: readonly string[];
  readonly ips?: readonly string[];
  /** How long it is valid; never longer than its authority. */
  readonly days?: number;
}

const ids = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
} as const;

/** Ten years: nobody renews the certificates of a cluster on a laptop. */
const defaultDays = 3650;
const day = 24 * 60 * 60 * 1000;
/** Certificates begin in the past so that a clock that is set back a little does not refuse them. */
const backdate = 60 * 60 * 1000;

/** A new certificate authority, valid for ten years. */
export async function createCa(commonName: string): Promise<KeyPair> {
  const keys = await createSigningKey();
  const subject = name(commonName, []);
  const spki = spkiOf(keys.publicKey);
  const cert = certificate({
    subject,
    issuer: subject,
    spki,
    days: defaultDays,
    signingKey: keys.privateKey,
    extensions: [
      extension(ids.basicConstraints, sequence(boolean(true)), true),
      // digitalSignature, keyCertSign, cRLSign
      extension(ids.keyUsage, bits(Buffer.from([0b1000_0110]), 1), true),
      extension(ids.subjectKeyIdentifier, octets(keyIdentifier(spki))),
    ],
  });
  return { cert, key: keys.privateKey };
}

/**
 * A certificate by this authority with a new key.
 * @throws Error when the authority's PEM texts are not readable or an address is not one.
 */
export async function issue(ca: KeyPair, request: CertificateRequest): Promise<KeyPair> {
  const keys = await createSigningKey();
  const authority = new X509Certificate(ca.cert);
  const spki = spkiOf(keys.publicKey);
  const alternatives = [
    ...(request.dnsNames ?? []).map((dns) => element(0x82, Buffer.from(dns, 'latin1'))),
    ...(request.ips ?? []).map((ip) => element(0x87, ipBytes(ip))),
  ];
  const authorityKey = authority.publicKey.export({ type: 'spki', format: 'der' });
  const extensions = [
    extension(ids.basicConstraints, sequence(), true),
    // digitalSignature
    extension(ids.keyUsage, bits(Buffer.from([0b1000_0000]), 7), true),
    extension(ids.extendedKeyUsage, sequence(...request.usages.map((usage) => oid(ids[usage])))),
    extension(ids.authorityKeyIdentifier, sequence(element(0x80, keyIdentifier(authorityKey)))),
  ];
  if (alternatives.length > 0) extensions.push(extension(ids.subjectAltName, sequence(...alternatives)));
  const cert = certificate({
    subject: name(request.commonName, request.organizations ?? []),
    issuer: subjectOf(authority),
    spki,
    days: request.days ?? defaultDays,
    notAfterLimit: new Date(authority.validTo),
    signingKey: ca.key,
    extensions,
  });
  return { cert, key: keys.privateKey };
}

/** A key pair (PEM: PKCS #8, SPKI) to sign and check ServiceAccount tokens with (ES256). */
export async function createSigningKey(): Promise<{ privateKey: string; publicKey: string }> {
  return promisify(generateKeyPair)('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
}

/** When the (first) certificate of the PEM text ends to be valid. */
export function certificateExpiry(pem: string): Date {
  return new Date(new X509Certificate(pem).validTo);
}

interface Content {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly spki: Buffer;
  readonly days: number;
  readonly notAfterLimit?: Date;
  readonly signingKey: string;
  readonly extensions: readonly Buffer[];
}

function certificate(content: Content): string {
  const now = Date.now();
  const end = Math.min(now + content.days * day, content.notAfterLimit?.getTime() ?? Number.POSITIVE_INFINITY);
  const algorithm = sequence(oid(ids.ecdsaWithSha256));
  const serial = randomBytes(16);
  // Positive and never empty after leading zeros are dropped.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const toBeSigned = sequence(
    element(0xa0, integer(Buffer.from([2]))), // version 3
    integer(serial),
    algorithm,
    content.issuer,
    sequence(time(new Date(now - backdate)), time(new Date(end))),
    content.subject,
    content.spki,
    element(0xa3, sequence(...content.extensions)),
  );
  const signature = sign('sha256', toBeSigned, { key: createPrivateKey(content.signingKey), dsaEncoding: 'der' });
  const der = sequence(toBeSigned, algorithm, bits(signature));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function name(commonName: string, organizations: readonly string[]): Buffer {
  const attribute = (id: string, value: string) => set(sequence(oid(id), utf8(value)));
  return sequence(
    ...organizations.map((organization) => attribute(ids.organization, organization)),
    attribute(ids.commonName, commonName),
  );
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function spkiOf(publicKeyPem: string): Buffer {
  return createPublicKey(publicKeyPem).export({ type: 'spki', format: 'der' });
}

/** SHA-1 of the key's bits: method 1 of RFC 5280 section 4.2.1.2. */
function keyIdentifier(spki: Buffer): Buffer {
  const key = children(spki)[1] ?? Buffer.alloc(0);
  // A P-256 key is shorter than 128 bytes: tag, length and the count of unused bits are a byte each.
  return createHash('sha1').update(key.subarray(3)).digest();
}

/** The subject as it stands in the certificate: what an issued certificate must name as its issuer, byte for byte. */
function subjectOf(authority: X509Certificate): Buffer {
  const [toBeSigned = Buffer.alloc(0)] = children(authority.raw);
  const subject = children(toBeSigned)[5];
  if (subject === undefined) throw new Error('the certificate of the authority has no subject');
  return subject;
}
