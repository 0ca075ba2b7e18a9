// The certificates and keys of a cluster: made once, kept in its state folder, read by the processes that need them.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CertificateRequest, createCa, createSigningKey, issue, type KeyPair } from '../pki/pki.ts';
import { type ClusterLayout, clusterDomain, kubernetesAddress, type NodeLayout } from './layout.ts';
import type { ClusterSettings } from './settings.ts';

/** Names of key pairs in the PKI folder. */
export const identity = {
  authority: 'ca',
  apiServer: 'apiserver',
  kubeletClient: 'apiserver-kubelet-client',
  admin: 'admin',
  controllers: 'controller-manager',
  scheduler: 'scheduler',
  agent: (node: NodeLayout): string => `${node.role}-client`,
  kubelet: (node: NodeLayout): string => `${node.role}-kubelet`,
} as const;

const masters = 'system:masters';
const loopback = ['127.0.0.1', '::1'];

/** What each certificate of a cluster says. Pure. */
export function certificatesOf(settings: ClusterSettings, layout: ClusterLayout): Map<string, CertificateRequest> {
  const client = (commonName: string, ...organizations: string[]): CertificateRequest => ({
    commonName,
    organizations,
    usages: ['client'],
  });
  const requests = new Map<string, CertificateRequest>([
    [identity.admin, client('kubernetes-admin', masters)],
    [identity.controllers, client('system:kube-controller-manager')],
    [identity.scheduler, client('system:kube-scheduler')],
    [identity.kubeletClient, client('system:kube-apiserver', masters)],
    [
      identity.apiServer,
      {
        commonName: 'kube-apiserver',
        usages: ['server'],
        dnsNames: [
          ...['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'],
          ...[`kubernetes.default.svc.${clusterDomain}`, ...layout.nodes.slice(0, 1).map(({ name }) => name)],
        ],
        ips: [
          ...loopback,
          kubernetesAddress(settings),
          ...layout.nodes.slice(0, 1).flatMap(({ addresses }) => addresses),
        ],
      },
    ],
  ]);
  for (const node of layout.nodes) {
    requests.set(identity.agent(node), client(`system:node:${node.name}`, 'system:nodes'));
    requests.set(identity.kubelet(node), {
      commonName: `system:node:${node.name}`,
      organizations: ['system:nodes'],
      usages: ['server'],
      dnsNames: [node.name, 'localhost'],
      ips: [...node.addresses, ...loopback],
    });
  }
  return requests;
}

/** Makes what is missing of a cluster's certificates and keys. */
export async function ensureIdentities(settings: ClusterSettings, layout: ClusterLayout): Promise<void> {
  mkdirSync(layout.pki, { recursive: true, mode: 0o700 });
  if (!existsSync(certFile(layout, identity.authority)))
    writeKeyPair(layout, identity.authority, await createCa('weft-ca'));
  const authority = readKeyPair(layout, identity.authority);
  await Promise.all([
    ...[...certificatesOf(settings, layout)].map(async ([name, request]) => {
      if (!existsSync(certFile(layout, name))) writeKeyPair(layout, name, await issue(authority, request));
    }),
    ensureSigningKey(layout),
  ]);
}

async function ensureSigningKey(layout: ClusterLayout): Promise<void> {
  if (existsSync(join(layout.pki, 'sa.pub'))) return;
  const { privateKey, publicKey } = await createSigningKey();
  writeWhole(join(layout.pki, 'sa.key'), privateKey);
  writeWhole(join(layout.pki, 'sa.pub'), publicKey);
}

export function readKeyPair(layout: ClusterLayout, name: string): KeyPair {
  return { cert: readFileSync(certFile(layout, name), 'utf8'), key: readFileSync(keyFile(layout, name), 'utf8') };
}

/** The certificate of the cluster's authority. */
export function readAuthority(layout: ClusterLayout): string {
  return readFileSync(certFile(layout, identity.authority), 'utf8');
}

/** The keys by which ServiceAccount tokens are signed and checked. */
export function readSigningKey(layout: ClusterLayout): { privateKey: string; publicKey: string } {
  const read = (file: string): string => readFileSync(join(layout.pki, file), 'utf8');
  return { privateKey: read('sa.key'), publicKey: read('sa.pub') };
}

/** The certificate is written last: where it is, the key is too. */
function writeKeyPair(layout: ClusterLayout, name: string, pair: KeyPair): void {
  writeWhole(keyFile(layout, name), pair.key);
  writeWhole(certFile(layout, name), pair.cert);
}

const certFile = (layout: ClusterLayout, name: string): string => join(layout.pki, `${name}.crt`);
const keyFile = (layout: ClusterLayout, name: string): string => join(layout.pki, `${name}.key`);

/** Writes a file for root alone, whole or not at all. */
export function writeWhole(file: string, text: string): void {
  const part = `${file}.part`;
  writeFileSync(part, text, { mode: 0o600 });
  renameSync(part, file);
}
