// The names of kube-proxy's chains of iptables, which people and tools look for (pkg/proxy/iptables/proxier.go). Pure.
import { createHash } from 'node:crypto';
import { type Backend, backendKey, type ServicePortModel, servicePortName } from '../service-port.ts';

/** Chains that all Services share, by table. */
export const natChains = {
  services: 'KUBE-SERVICES',
  nodePorts: 'KUBE-NODEPORTS',
  postrouting: 'KUBE-POSTROUTING',
  markForMasquerade: 'KUBE-MARK-MASQ',
} as const;
export const filterChains = {
  /** Cluster addresses that nobody answers for. */
  services: 'KUBE-SERVICES',
  /** The same of addresses that the outside uses. */
  externalServices: 'KUBE-EXTERNAL-SERVICES',
  forward: 'KUBE-FORWARD',
  /** Ports at which load balancers ask after the health of a Service. */
  nodePorts: 'KUBE-NODEPORTS',
  /** What the source ranges of load balancers did not let through. */
  firewall: 'KUBE-PROXY-FIREWALL',
  /** Of the kubelet, where there is one that makes it: the guard of 127.0.0.0/8. */
  localnet: 'KUBE-FIREWALL',
} as const;
/** An empty chain in each table: where it is gone, someone has deleted everything. */
export const canaryChain = 'KUBE-PROXY-CANARY';
/** What tells our rules from those of a kube-proxy: a comment in the canary chain of the table mangle. */
export const ownMark = 'rules of Weft';

const ofService = /^KUBE-(?:SVC|SVL|EXT|FW|SEP|XLB)-[A-Z2-7]{16}$/;

/** Whether it is a chain of one Service or endpoint, of this version or an earlier one. */
export const isServiceChain = (chain: string): boolean => ofService.test(chain);

export interface ServiceChains {
  /** To all endpoints. */
  readonly cluster: string;
  /** To the endpoints of this node. */
  readonly local: string;
  /** For what comes by an address for the outside. */
  readonly external: string;
  /** Lets the source ranges of a load balancer through. */
  readonly firewall: string;
}

/** The chains of a port of a Service. */
export function serviceChains(model: Pick<ServicePortModel, 'name' | 'protocol'>): ServiceChains {
  const hash = chainHash(servicePortName(model.name) + model.protocol.toLowerCase());
  return {
    cluster: `KUBE-SVC-${hash}`,
    local: `KUBE-SVL-${hash}`,
    external: `KUBE-EXT-${hash}`,
    firewall: `KUBE-FW-${hash}`,
  };
}

/** The chain of one endpoint of a port of a Service. */
export function endpointChain(
  model: Pick<ServicePortModel, 'name' | 'protocol'>,
  backend: Pick<Backend, 'ip' | 'port'>,
): string {
  return `KUBE-SEP-${chainHash(servicePortName(model.name) + model.protocol.toLowerCase() + backendKey(backend))}`;
}

/** A part of the balancing chain `KUBE-SVC-…` or `KUBE-SVL-…`, by number; kube-proxy has no such chains. */
export const partOf = (chain: string, part: number): string =>
  `${chain.slice(0, -16)}${chainHash(`${chain} part ${part}`)}`;

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first 16 letters of the SHA-256 in base32 (RFC 4648): 10 bytes of it. */
function chainHash(text: string): string {
  const digest = createHash('sha256').update(text).digest();
  let letters = '';
  for (let group = 0; group < 2; group++) {
    let bits = BigInt(digest.readUIntBE(group * 5, 5));
    let part = '';
    for (let letter = 0; letter < 8; letter++) {
      part = `${alphabet[Number(bits & 31n)]}${part}`;
      bits >>= 5n;
    }
    letters += part;
  }
  return letters;
}
