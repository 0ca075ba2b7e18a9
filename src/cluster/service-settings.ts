// What a user can choose about the Services of a cluster: external IPs, and where NodePorts are open. Pure.
import { type Cidr, parseCidr } from '../net/address.ts';
import { SettingsError } from './settings-error.ts';

export interface ServiceSettings {
  /** Whether Services may claim addresses by spec.externalIPs. */
  readonly externalIps: boolean;
  /** NodePorts are open on the addresses of a node in these ranges; on its own address and 127.0.0.1 where absent. */
  readonly nodePortAddresses?: readonly Cidr[];
}

/** As a user writes them. */
export interface GivenServiceSettings {
  readonly externalIps?: unknown;
  readonly nodePortAddresses?: unknown;
}

/** Throws a SettingsError for what cannot be. */
export function decideServiceSettings({
  externalIps = false,
  nodePortAddresses,
}: GivenServiceSettings): ServiceSettings {
  if (typeof externalIps !== 'boolean')
    throw new SettingsError(`--external-ips '${String(externalIps)}': must be true or false`);
  if (nodePortAddresses === undefined) return { externalIps };
  const texts = (Array.isArray(nodePortAddresses) ? nodePortAddresses : String(nodePortAddresses).split(',')).map(
    String,
  );
  return { externalIps, nodePortAddresses: texts.map((text) => readRange(text.trim())) };
}

function readRange(text: string): Cidr {
  const range = parseCidr(text);
  if (range === undefined)
    throw new SettingsError(
      `--node-port-addresses '${text}': must be ranges of the nodes' addresses such as 172.18.0.0/16,127.0.0.0/8`,
    );
  return range;
}
