// Deletes entries of the connection tracking table of this process's network namespace, by conntrack(8).
import { execFile } from 'node:child_process';
import { type Family, familyOf, type Ip } from '../net/address.ts';
import type { L4Protocol } from './nft.ts';

/** Which flows: those that were sent to this port (of this address, and answered from `replySource`, where given). */
export interface FlowFilter {
  readonly protocol: L4Protocol;
  readonly destination?: Ip;
  readonly port: number;
  readonly replySource?: Ip;
  /** Where neither address says it; IPv4 by default. */
  readonly family?: Family;
}

/** The arguments of conntrack(8) that delete the flows. */
export function deleteArguments(flow: FlowFilter): string[] {
  const address = flow.destination ?? flow.replySource;
  const family = address === undefined ? (flow.family ?? 'IPv4') : familyOf(address);
  return [
    '--delete',
    '--family',
    family === 'IPv4' ? 'ipv4' : 'ipv6',
    '--proto',
    flow.protocol,
    ...(flow.destination === undefined ? [] : ['--orig-dst', flow.destination]),
    '--orig-port-dst',
    String(flow.port),
    ...(flow.replySource === undefined ? [] : ['--reply-src', flow.replySource]),
  ];
}

/** Deletes the flows; that there are none is no error. */
export function deleteFlows(flow: FlowFilter): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('conntrack', deleteArguments(flow), (error, _stdout, stderr) => {
      if (error === null || stderr.includes('0 flow entries have been deleted')) resolve();
      else
        reject(
          new Error(
            `conntrack could not delete the flows to ${flow.destination ?? 'port'} ${flow.port}: ${stderr.trim()}`,
          ),
        );
    });
  });
}
