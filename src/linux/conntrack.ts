// Deletes entries of the connection tracking table of this process's network namespace, by conntrack(8).
import { execFile } from 'node:child_process';
import { familyOf, type Ip } from '../net/address.ts';
import type { L4Protocol } from './nft.ts';

/** Which flows: those that were sent to this address and port, and were answered from `replySource` where it is given. */
export interface FlowFilter {
  readonly protocol: L4Protocol;
  readonly destination: Ip;
  readonly port: number;
  readonly replySource?: Ip;
}

/** The arguments of conntrack(8) that delete the flows. */
export function deleteArguments(flow: FlowFilter): string[] {
  return [
    '--delete',
    '--family',
    familyOf(flow.destination) === 'IPv4' ? 'ipv4' : 'ipv6',
    '--proto',
    flow.protocol,
    '--orig-dst',
    flow.destination,
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
      else reject(new Error(`conntrack could not delete the flows to ${flow.destination}: ${stderr.trim()}`));
    });
  });
}
