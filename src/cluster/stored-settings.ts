// The settings of a cluster in its state folder: written at its first `up`, and when its nodes or its fabric change.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { asCidr, parsePort } from '../net/address.ts';
import { decideDnsSettings } from './dns-settings.ts';
import { decideFabricSettings } from './fabric-settings.ts';
import { writeWhole } from './identities.ts';
import { clusterRun, clusterState, layoutOf, runRoot, weftHome } from './layout.ts';
import { noLbPool } from './lb-pool.ts';
import { checkNodePortRange, defaultNodePortRange, formatPortRange } from './node-port-range.ts';
import { decideProxySettings } from './proxy-settings.ts';
import { decideServiceSettings } from './service-settings.ts';
import type { ClusterSettings } from './settings.ts';

export function writeSettings(settings: ClusterSettings): void {
  const layout = layoutOf(settings);
  mkdirSync(layout.state, { recursive: true, mode: 0o700 });
  writeWhole(layout.settingsFile, `${JSON.stringify(settings, undefined, 2)}\n`);
}

/** The settings of a cluster; undefined where there is none of that name. An Error where its file is damaged. */
export function readSettings(name: string): ClusterSettings | undefined {
  const file = join(clusterState(name), 'settings.json');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    const read = JSON.parse(text);
    const apiPort = read.apiPort === undefined ? undefined : parsePort(read.apiPort);
    const ranges = {
      podCidrs: read.podCidrs.map(asCidr),
      serviceCidrs: read.serviceCidrs.map(asCidr),
      // A cluster of before both families has one range here, and not in a list.
      underlay: [read.underlay].flat().map(asCidr),
    };
    return {
      name,
      nodes: Number(read.nodes),
      // What clusters of earlier versions did not have yet is as it was then.
      members: read.members?.map(Number) ?? Array.from({ length: Number(read.nodes) }, (_, index) => index),
      ...decideFabricSettings(read),
      ...decideServiceSettings(read),
      ...ranges,
      nodePortRange: checkNodePortRange(
        read.nodePortRange === undefined ? defaultNodePortRange : formatPortRange(read.nodePortRange),
      ),
      ...decideProxySettings(read),
      lbPool: typeof read.lbPool === 'string' ? read.lbPool : noLbPool,
      ...decideDnsSettings({ dnsUpstream: read.dnsUpstreams?.length > 0 ? read.dnsUpstreams : undefined }, ranges),
      offline: read.offline === true,
      ...(apiPort !== undefined && { apiPort }),
    };
  } catch (error) {
    throw new Error(`${file} cannot be read (${String(error)}): remove the cluster by './weft down --name ${name}'`);
  }
}

/** Whether there is no such file or folder. Throws an Error that says what to do where it is somebody else's. */
export function isMissing(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'EACCES' || code === 'EPERM')
    throw new Error('clusters belong to root, and this user may not look at them: try sudo');
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** The names of all clusters of this home that have left something: in the state folder, or running. */
export function clusterNames(): string[] {
  const list = (folder: string): string[] => {
    try {
      return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  };
  const running = list(runRoot).filter((name) => otherHome(name) === undefined);
  return [...new Set([...list(weftHome()), ...running])].sort();
}

/** Notes in the run folder of a cluster where its state is: all homes of the machine share the names. */
export function writeHome(name: string): void {
  writeWhole(join(clusterRun(name), 'home'), weftHome());
}

/** The home of a running cluster where it is another one than this process's. */
export function otherHome(name: string): string | undefined {
  try {
    const home = readFileSync(join(clusterRun(name), 'home'), 'utf8');
    return home === weftHome() ? undefined : home;
  } catch {
    return undefined;
  }
}
