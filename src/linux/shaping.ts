// Rates and delays on interfaces of a namespace, by tc(8): a class of its own for each sort of traffic.
import { spawnSync } from 'node:child_process';
import { inNetns, type NetnsRef } from './netns.ts';

/** One class of an interface's queue; packets choose it by their priority 1:MINOR, all others pass unhindered. */
export interface TrafficClass {
  /** 1 to 65535. */
  readonly minor: number;
  /** Bits a second; unlimited where absent. */
  readonly rate?: number;
  /** How long each packet is held back, in ms; needs the kernel's sch_netem. */
  readonly delayMs?: number;
}

/** The kernel or tc refused; the message is tc's own. */
class ShapingError extends Error {
  override readonly name = 'ShapingError';
}

/** More than any link of one machine carries. */
const unlimited = 100e9;

/** Replaces the classes of an interface; without any, it has its default queue again. Throws a ShapingError. */
export function setClasses(netns: NetnsRef, link: string, classes: readonly TrafficClass[]): void {
  tc(netns, ['qdisc', 'delete', 'dev', link, 'root'], { mayFail: true });
  if (classes.length === 0) return;
  tc(netns, ['qdisc', 'add', 'dev', link, 'root', 'handle', '1:', 'htb', 'default', '0']);
  for (const { minor, rate = unlimited, delayMs } of classes) {
    const id = minor.toString(16);
    tc(netns, ['class', 'add', 'dev', link, 'parent', '1:', 'classid', `1:${id}`, 'htb', 'rate', `${rate}bit`]);
    const handle = (minor + 1).toString(16);
    const inner =
      delayMs === undefined ? ['pfifo', 'limit', '100'] : ['netem', 'limit', '10000', 'delay', `${delayMs}ms`];
    tc(netns, ['qdisc', 'add', 'dev', link, 'parent', `1:${id}`, 'handle', `${handle}:`, ...inner]);
  }
}

/** Whether the kernel can hold packets back (sch_netem). Tried on a namespace's loopback. */
export function canDelay(netns: NetnsRef): boolean {
  try {
    tc(netns, ['qdisc', 'add', 'dev', 'lo', 'root', 'netem', 'delay', '1ms']);
  } catch {
    return false;
  }
  tc(netns, ['qdisc', 'delete', 'dev', 'lo', 'root'], { mayFail: true });
  return true;
}

function tc(netns: NetnsRef, args: readonly string[], { mayFail = false } = {}): void {
  const result = inNetns(netns, () => spawnSync('tc', args, { encoding: 'utf8' }));
  if (result.error !== undefined)
    throw new ShapingError(`tc cannot be run (is iproute2 installed?): ${result.error.message}`);
  if (result.status !== 0 && !mayFail) throw new ShapingError(`tc ${args.join(' ')}: ${result.stderr.trim()}`);
}
