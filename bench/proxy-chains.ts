// The layout to compare with: a chain and an anonymous map for each Service, a chain for each endpoint, as kube-proxy's
// nftables mode had it up to Kubernetes 1.35 (KEP-3866). Text for nft(8).
import { benchService, endpointAddress } from './proxy-objects.ts';

const table = 'ip bench-chains';

function serviceLines(service: number, endpoints: number): string[] {
  const chain = `service-${service}`;
  const lines = [`add chain ${table} ${chain}`];
  const choices: string[] = [];
  for (let index = 0; index < endpoints; index++) {
    const address = endpointAddress(service, index, endpoints);
    const endpoint = `endpoint-${service}-${index}`;
    lines.push(
      `add chain ${table} ${endpoint}`,
      `add rule ${table} ${endpoint} ip saddr ${address} jump mark-for-masquerade`,
      `add rule ${table} ${endpoint} meta l4proto tcp dnat to ${address}:8080`,
    );
    choices.push(`${index} : goto ${endpoint}`);
  }
  const { clusterIP = '' } = benchService(service).spec;
  lines.push(
    `add rule ${table} ${chain} ip daddr ${clusterIP} tcp dport 80 ip saddr != 10.0.0.0/9 jump mark-for-masquerade`,
    `add rule ${table} ${chain} numgen random mod ${endpoints} vmap { ${choices.join(', ')} }`,
    `add element ${table} cluster-ips { ${clusterIP} }`,
    `add element ${table} service-ips { ${clusterIP} . tcp . 80 : goto ${chain} }`,
  );
  return lines;
}

/** The whole table with Services 0 to `services` - 1. */
export function chainTable(services: number, endpoints: number): string {
  const lines = [
    `add table ${table}`,
    `add set ${table} cluster-ips { type ipv4_addr; }`,
    `add map ${table} service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }`,
    `add chain ${table} mark-for-masquerade`,
    `add rule ${table} mark-for-masquerade meta mark set meta mark or 0x4000`,
    `add chain ${table} services`,
    `add chain ${table} nat-prerouting { type nat hook prerouting priority -100; }`,
    `add chain ${table} nat-output { type nat hook output priority -100; }`,
    `add chain ${table} nat-postrouting { type nat hook postrouting priority 100; }`,
    `add rule ${table} services ip daddr . meta l4proto . th dport vmap @service-ips`,
    `add rule ${table} nat-prerouting jump services`,
    `add rule ${table} nat-output jump services`,
    `add rule ${table} nat-postrouting meta mark and 0x4000 != 0 meta mark set meta mark xor 0x4000 masquerade fully-random`,
  ];
  for (let service = 0; service < services; service++) lines.push(...serviceLines(service, endpoints));
  return `${lines.join('\n')}\n`;
}

/** One more Service. */
export const oneMoreChain = (service: number, endpoints: number): string =>
  `${serviceLines(service, endpoints).join('\n')}\n`;
