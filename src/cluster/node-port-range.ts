// The range that node ports of Services come from, as a user writes it. Pure.
import { type Port, parsePort } from '../net/address.ts';
import { SettingsError } from './settings-error.ts';

export interface NodePortRange {
  readonly from: Port;
  readonly to: Port;
}

/** Kubernetes' own. */
export const defaultNodePortRange = '30000-32767';

/** What listens on every node itself: API server, kubelet, the proxy's metrics and health, containerd's two helpers. */
const ownPorts: readonly number[] = [5000, 5001, 6443, 10249, 10250, 10256];

/** `30000-32767`. Throws a SettingsError where it is no range, or has ports that the nodes use themselves. */
export function checkNodePortRange(value: unknown): NodePortRange {
  const [, first = '', last = ''] = /^(\d{1,5})-(\d{1,5})$/.exec(String(value)) ?? [];
  const [from, to] = [parsePort(first), parsePort(last)];
  const option = `--node-port-range '${String(value)}'`;
  if (from === undefined || to === undefined || from > to)
    throw new SettingsError(`${option}: not a range of ports such as ${defaultNodePortRange}`);
  if (from < 1024) throw new SettingsError(`${option}: ports below 1024 are for the nodes' own programs`);
  const used = ownPorts.find((port) => port >= from && port <= to);
  if (used !== undefined) throw new SettingsError(`${option}: the nodes use port ${used} of it themselves`);
  return { from, to };
}

export const formatPortRange = ({ from, to }: NodePortRange): string => `${from}-${to}`;
