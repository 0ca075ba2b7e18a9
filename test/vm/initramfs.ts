// What a test machine starts with: busybox, the modules that reach the host's files, and an init that runs one command.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { finished } from 'node:stream/promises';
import type { Kernel } from './kernel.ts';

/** What the machine needs to reach the host's files and to answer. */
const drivers = ['virtio_pci', 'virtio_console', 'virtiofs', 'overlay'];

/**
 * The host's root, read-only, under an overlay in memory: the machine sees every file of the host at its own path and
 * writes none. The folder named by weft.run= on the kernel's command line has `modules` and `arguments`, one a line.
 */
const init = `#!/busybox sh
/busybox mount -t proc proc /proc
/busybox mount -t devtmpfs dev /dev
while read -r module; do /busybox insmod /modules/"$module"; done </modules/order
for word in $(/busybox cat /proc/cmdline); do
  case "$word" in
    weft.run=*) run=\${word#*=} ;;
    weft.modules=*) modules=\${word#*=} ;;
  esac
done
/busybox mount -t virtiofs -o ro host /lower
/busybox mount -t tmpfs tmpfs /upper
/busybox mkdir /upper/files /upper/work
/busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work overlay /root
/busybox mkdir -p /root/proc /root/dev /root/sys /root/run /root/lib/modules/"$(/busybox uname -r)"
/busybox mount --move /proc /root/proc
/busybox mount --move /dev /root/dev
/busybox mount -t sysfs sys /root/sys
/busybox mount -t tmpfs tmpfs /root/run
/busybox mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
/busybox mkdir -p /root/dev/pts /root/dev/shm
/busybox mount -t devpts devpts /root/dev/pts
/busybox mount -t tmpfs tmpfs /root/dev/shm
/busybox mount -o bind /root"$modules" /root/lib/modules/"$(/busybox uname -r)"
/busybox mkdir /root/run/machine
/busybox cp /busybox /run-command /root/run/machine/
# The kernel loads by itself what it misses, as on any Debian.
/busybox ln -s busybox /root/run/machine/modprobe
echo /run/machine/modprobe >/root/proc/sys/kernel/modprobe
# The overlay becomes the root of the mount namespace, also for those who enter one anew.
exec /busybox switch_root /root /run/machine/run-command "$run"
`;

/** The first process of the machine's own root: runs the command, tells its output and code, switches off. */
const runCommand = `#!/run/machine/busybox sh
run=$1
busybox=/run/machine/busybox
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
$busybox ip link set lo up
until [ -e /dev/vport*p1 ] && [ -e /dev/vport*p2 ]; do $busybox usleep 5000; done
exec 3>$(echo /dev/vport*p2)
(
  code=0
  while read -r module; do
    /run/machine/modprobe "$module" || { echo "no module $module"; code=125; }
  done <"$run/modules"
  set --
  while IFS= read -r argument; do set -- "$@" "$argument"; done <"$run/arguments"
  if [ "$code" = 0 ]; then "$@" </dev/null 3>&- || code=$?; fi
  echo "$code" >&3
) 2>&1 3>&3 | $busybox cat >$(echo /dev/vport*p1)
$busybox poweroff -f
`;

/** Writes the archive to `file`; `work` is a folder for its making, removed by the caller. */
export async function makeInitramfs(kernel: Kernel, work: string, file: string): Promise<void> {
  const root = join(work, 'initramfs');
  for (const folder of ['proc', 'dev', 'lower', 'upper', 'root', 'modules']) {
    await mkdir(join(root, folder), { recursive: true });
  }
  await cp('/bin/busybox', join(root, 'busybox'), { dereference: true });
  const modules = loadOrder(await readFile(join(kernel.modules, 'modules.dep'), 'utf8'));
  for (const module of modules) await cp(join(kernel.modules, module), join(root, 'modules', basename(module)));
  await writeFile(join(root, 'modules/order'), modules.map((module) => `${basename(module)}\n`).join(''));
  await writeFile(join(root, 'init'), init, { mode: 0o755 });
  await writeFile(join(root, 'run-command'), runCommand, { mode: 0o755 });
  await archive(root, file);
}

/** The drivers and all that they need, each after what it needs; from depmod's `path: path …` lines. */
function loadOrder(dependencies: string): string[] {
  const needs = new Map<string, string[]>();
  for (const line of dependencies.split('\n')) {
    const [path, rest] = line.split(':');
    if (path !== undefined && rest !== undefined) needs.set(path, rest.split(' ').filter(Boolean));
  }
  const order = new Set<string>();
  const load = (path: string) => {
    for (const needed of needs.get(path) ?? []) load(needed);
    order.add(path);
  };
  for (const driver of drivers) {
    for (const path of needs.keys()) if (basename(path) === `${driver}.ko`) load(path);
  }
  return [...order];
}

async function archive(root: string, file: string): Promise<void> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => relative(root, join(entry.parentPath, entry.name))).sort();
  const cpio = spawn('busybox', ['cpio', '-o', '-H', 'newc'], { cwd: root, stdio: ['pipe', 'pipe', 'ignore'] });
  const exit = once(cpio, 'exit');
  cpio.stdin.end(`${paths.join('\n')}\n`);
  await finished(cpio.stdout.pipe(createWriteStream(file)));
  const [code] = await exit;
  if (code !== 0) throw new Error(`busybox cpio ended with ${code}: is busybox-static installed?`);
}
