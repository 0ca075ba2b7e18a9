// Takes what the IPVS mode wrote out of the kernel. Established connections stay until they end of themselves.
import { hasLegacyTables, installedBackends, iptablesOf } from '../../linux/iptables-run.ts';
import type { Change } from './changes.ts';
import { IpvsKernel } from './kernel.ts';
import { removal } from './rule-keeper.ts';

/** How often it is looked whether connections have ended, in ms. */
const drainMs = 15_000;
let draining: NodeJS.Timeout | undefined;

/** Ends the waiting for connections of an earlier clean-up: what is there is in use again. */
export function stopDraining(): void {
  clearInterval(draining);
  draining = undefined;
}

/**
 * Takes out what this mode ever wrote, but for the chains of iptables of `kept` (`nat KUBE-SERVICES`), which another mode
 * has made its own. To be called when the other mode's rules are there: new connections are theirs. A virtual server that
 * still has connections stays with its address until it has none, looked at for as long as the process lives.
 */
export async function cleanUpIpvs(kept: ReadonlySet<string> = new Set()): Promise<void> {
  stopDraining();
  if (!IpvsKernel.isInUse()) return;
  const kernel = IpvsKernel.open(['IPv4', 'IPv6']);
  const there = await kernel.read();
  const quiet = [...there.values()].flatMap((item): Change[] =>
    item.kind !== 'server'
      ? []
      : item.reals
          .filter(({ weight }) => weight !== 0)
          .map((real) => ({ do: 'set real', server: item.server, real: { ...real, weight: 0 } })),
  );
  await kernel.apply(quiet, there);
  await removeRules(kept);
  kernel.deleteSets();
  if (await kernel.deleteIdle()) {
    kernel.close();
    return;
  }
  const look = async (): Promise<void> => {
    if (!(await kernel.deleteIdle())) return;
    stopDraining();
    kernel.close();
  };
  // What the kernel refuses now it may do next time.
  draining = setInterval(() => void look().catch(() => {}), drainMs);
  draining.unref();
}

async function removeRules(kept: ReadonlySet<string>): Promise<void> {
  // To ask iptables-legacy makes the tables of ip_tables where there are none.
  for (const backend of installedBackends()) {
    if (backend === 'legacy' && !hasLegacyTables()) continue;
    const iptables = iptablesOf(backend);
    for (const family of ['IPv4', 'IPv6'] as const)
      await iptables.restore(family, removal(await iptables.save(family), kept));
  }
}
