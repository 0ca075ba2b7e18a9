// What a node sees of the file system: its mount namespace, as data (planMounts) and applied (ensureNodeNamespaces).
import { closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  bindMount,
  createPinnedMountNamespace,
  deletePinnedNamespace,
  listMounts,
  mountFilesystem,
  setPropagation,
  unmount,
} from '../linux/mount.ts';
import { inMountNamespace, inNewUtsNamespace } from '../linux/mount-namespace.ts';
import { inNetns, netnsPath } from '../linux/netns.ts';
import { type NodeFile, nodeFiles } from './containerd-config.ts';
import type { ClusterLayout, NodeLayout } from './layout.ts';

/** One thing to do inside of a node's new mount namespace, in this order. Sources are seen as on the host. */
export type MountStep =
  /** An empty file system in memory. */
  | { readonly type: 'tmpfs'; readonly at: string }
  /** The host's folder with the node's own changes on top, kept in memory: the host's stays as it is. */
  | { readonly type: 'overlay'; readonly at: string }
  /** A folder that is kept. */
  | { readonly type: 'bind'; readonly from: string; readonly at: string }
  /** /sys as the node's network namespace shows it, with the host's cgroups. */
  | { readonly type: 'sysfs' }
  | ({ readonly type: 'file'; readonly at: string } & Omit<NodeFile, 'path'>);

/** Where nodes have the folder of the Node.js that the cluster runs on. */
export const programsFolder = '/run/weft-programs';

/** The folders in which a node has something of its own; the host's are never written to. */
const overlaid = ['/etc', '/opt', '/var/lib', '/var/log'];

/** The mounts of one node. Pure. */
export function planMounts(layout: ClusterLayout, node: NodeLayout): MountStep[] {
  const kept = (folder: string, at: string): MountStep => ({ type: 'bind', from: join(node.state, folder), at });
  return [
    { type: 'tmpfs', at: '/run' },
    { type: 'bind', from: layout.run, at: layout.run },
    ...overlaid.map((at): MountStep => ({ type: 'overlay', at })),
    // The overlay of /var/lib would hide that the state folder is there to be written.
    { type: 'bind', from: layout.state, at: layout.state },
    { type: 'bind', from: node.containerdRun, at: '/run/containerd' },
    // For pods of the node that are Weft's own: one Node.js for all processes of the machine, in memory too.
    { type: 'bind', from: dirname(process.execPath), at: programsFolder },
    kept('containerd', '/var/lib/containerd'),
    kept('kubelet', '/var/lib/kubelet'),
    kept('pods', '/var/log/pods'),
    kept('containers', '/var/log/containers'),
    kept('cni', '/var/lib/cni'),
    kept('dns', '/var/lib/weft-dns'),
    kept('net.d', '/etc/cni/net.d'),
    { type: 'tmpfs', at: '/opt/cni/bin' },
    { type: 'sysfs' },
    ...nodeFiles(layout, node).map(({ path, ...file }): MountStep => ({ type: 'file', at: path, ...file })),
  ];
}

/**
 * Makes a node's mount and UTS namespaces where they are missing (or always, if `anew`: its /sys shows the network
 * namespace in which it was made). Returns whether they were made now (processes in
 * older ones do not see what the new ones see).
 */
export function ensureNodeNamespaces(layout: ClusterLayout, node: NodeLayout, anew: boolean): boolean {
  const pinned = new Set(listMounts().flatMap((mount) => (mount.type === 'nsfs' ? [mount.target] : [])));
  if (!anew && pinned.has(node.mountNamespace) && pinned.has(node.utsNamespace)) return false;
  deletePinnedNamespace(node.mountNamespace);
  deletePinnedNamespace(node.utsNamespace);
  const steps = planMounts(layout, node);
  for (const step of steps) if (step.type === 'bind') mkdirSync(step.from, { recursive: true, mode: 0o700 });
  createPinnedMountNamespace(node.mountNamespace);
  try {
    inMountNamespace(node.mountNamespace, () => inNetns(netnsPath(node.name), () => applySteps(layout, steps)));
    pinUts(node);
  } catch (error) {
    deletePinnedNamespace(node.mountNamespace);
    throw error;
  }
  return true;
}

function applySteps(layout: ClusterLayout, steps: readonly MountStep[]): void {
  // Opened before anything hides it; a bind mount accepts the descriptor's file in /proc as its source.
  const sources = new Map<MountStep, number>();
  try {
    for (const step of steps) if (step.type === 'bind') sources.set(step, openSync(step.from, 'r'));
    setPropagation('/', 'private', { recursive: true });
    // What others have mounted there would be hidden, and held for as long as this node lives.
    for (const { target } of listMounts('thread-self').reverse())
      if (target.startsWith('/run/') && target !== layout.run) unmount(target, { lazy: true });
    for (const step of steps) applyStep(step, sources.get(step));
  } finally {
    for (const fd of sources.values()) closeSync(fd);
  }
}

const scratch = '/run/weft-mounts';

function applyStep(step: MountStep, source: number | undefined): void {
  switch (step.type) {
    case 'tmpfs':
      mkdirSync(step.at, { recursive: true, mode: 0o755 });
      mountFilesystem('tmpfs', step.at, { type: 'tmpfs', data: 'mode=0755' });
      return;
    case 'overlay': {
      if (!existsSync(step.at)) return;
      const own = join(scratch, step.at.replaceAll('/', '_'));
      for (const part of ['upper', 'work']) mkdirSync(join(own, part), { recursive: true, mode: 0o755 });
      mountFilesystem('overlay', step.at, {
        type: 'overlay',
        data: `lowerdir=${step.at},upperdir=${join(own, 'upper')},workdir=${join(own, 'work')}`,
      });
      return;
    }
    case 'bind':
      mkdirSync(step.at, { recursive: true, mode: 0o755 });
      bindMount(`/proc/thread-self/fd/${source}`, step.at, { recursive: false });
      return;
    case 'sysfs': {
      const cgroups = join(scratch, 'cgroup');
      mkdirSync(cgroups, { recursive: true });
      bindMount('/sys/fs/cgroup', cgroups, { recursive: true });
      mountFilesystem('sysfs', '/sys', { type: 'sysfs' });
      bindMount(cgroups, '/sys/fs/cgroup', { recursive: true });
      unmount(cgroups, { lazy: true });
      return;
    }
    case 'file':
      mkdirSync(dirname(step.at), { recursive: true, mode: 0o755 });
      // A symbolic link (Debian's /etc/resolv.conf may be one) is replaced, not followed.
      rmSync(step.at, { force: true });
      writeFileSync(step.at, step.text, { mode: step.executable === true ? 0o755 : 0o644 });
  }
}

function pinUts(node: NodeLayout): void {
  closeSync(openSync(node.utsNamespace, 'a', 0o600));
  inNewUtsNamespace(() => {
    writeFileSync('/proc/sys/kernel/hostname', node.name);
    bindMount('/proc/thread-self/ns/uts', node.utsNamespace);
  });
}
