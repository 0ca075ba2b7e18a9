// `down`: removes everything of a cluster, from whatever state it is in; the names and the cgroups lead to it.
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { listMounts, unmount } from '../linux/mount.ts';
import { deleteNamedNetns, listNamedNetns, namedNetnsDir, netnsPath } from '../linux/netns.ts';
import { cgroupRoots } from './cgroups.ts';
import { endProcesses } from './end-processes.ts';
import { changeKubeconfig, contextName, removeFromKubeconfig, userKubeconfig } from './kubeconfig.ts';
import { clusterRun, clusterState, runRoot, weftHome } from './layout.ts';

const folderMarker = 'made-netns-folder';

/** Told what was removed, step by step. */
export type RemovalStep = (text: string, ms: number) => void;

/** Whether there is anything left of a cluster of that name. */
export function isThere(name: string): boolean {
  return existsSync(clusterState(name)) || existsSync(clusterRun(name)) || netnsOf(name).length > 0;
}

/** The network namespaces of a cluster: by what Weft calls them. */
export function netnsOf(name: string, all: readonly string[] = listNamedNetns()): string[] {
  const rest = /^(underlay|router|control-plane|worker([2-9]|[1-9]\d+)?)$/;
  return all.filter((netns) => netns.startsWith(`${name}-`) && rest.test(netns.slice(name.length + 1)));
}

/** Removes processes, cgroups, mounts, namespaces, files, and the context in the user's kubeconfig. */
export function removeCluster(name: string, tell: RemovalStep): void {
  const step = (text: string, work: () => void): void => {
    const begin = performance.now();
    work();
    tell(text, Math.round(performance.now() - begin));
  };
  const run = clusterRun(name);
  step('Processes', () => {
    // Nobody is to start another supervisor from here on.
    if (existsSync(run)) writeFileSync(join(run, 'stopping'), '');
    endProcesses(join('weft', name), namespacesOf(name));
    removeSharedCgroups();
  });
  step('Namespaces and mounts', () => {
    for (const { target } of mountsUnder(run).reverse()) while (unmount(target, { lazy: true }));
    for (const netns of netnsOf(name)) deleteNamedNetns(netns);
    releaseNamedNetnsFolder();
  });
  step('Files', () => {
    rmSync(run, { recursive: true, force: true });
    rmSync(clusterState(name), { recursive: true, force: true });
    for (const folder of [runRoot, weftHome()]) removeIfEmpty(folder);
  });
  const kubeconfig = userKubeconfig();
  if (existsSync(kubeconfig)) changeKubeconfig(kubeconfig, (text) => removeFromKubeconfig(text, contextName(name)));
}

/** How links in /proc name the namespaces that belong to a cluster: those of its named and of its pinned ones. */
function namespacesOf(name: string): Set<string> {
  const found = new Set<string>();
  const add = (kind: string, file: string): void => {
    const stat = statSync(file, { throwIfNoEntry: false });
    // A file that pins nothing is an ordinary one, and its number says nothing.
    if (stat !== undefined && pins.has(file)) found.add(`${kind}:[${stat.ino}]`);
  };
  const pins = new Set(listMounts().flatMap(({ type, target }) => (type === 'nsfs' ? [target] : [])));
  for (const netns of netnsOf(name)) add('net', netnsPath(netns));
  for (const target of pins)
    if (target.startsWith(`${clusterRun(name)}/`) && target.endsWith('/mnt')) add('mnt', target);
  return found;
}

function mountsUnder(folder: string): { target: string }[] {
  return listMounts().filter(({ target }) => target === folder || target.startsWith(`${folder}/`));
}

/** `ip netns` makes its folder a mount point; nothing is left of that when the last name goes and Weft made the folder. */
function releaseNamedNetnsFolder(): void {
  const marker = join(runRoot, folderMarker);
  if (!existsSync(marker)) return;
  if (existsSync(namedNetnsDir) && readdirSync(namedNetnsDir).length === 0) {
    unmount(namedNetnsDir);
    removeIfEmpty(namedNetnsDir);
  }
  const others = readdirSync(runRoot, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  if (others.length <= 1) rmSync(marker);
}

/** Remembers, before the first name is made, that the folder of names is not the machine's own. */
export function rememberNamedNetnsFolder(): void {
  if (existsSync(namedNetnsDir)) return;
  mkdirSync(runRoot, { recursive: true, mode: 0o700 });
  writeFileSync(join(runRoot, folderMarker), '', { mode: 0o600 });
}

/** The cgroups above those of the clusters, when the last cluster has gone. */
function removeSharedCgroups(): void {
  for (const folder of cgroupRoots()) removeIfEmpty(join(folder, 'weft'));
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // It is used by other clusters, or is not there.
  }
}
