// A small virtual machine with Debian's kernel, for rules that need modules which the machine's own kernel may lack.
//
//   const reason = await whyNoVm();                       // false where a machine can run
//   test('…', { skip: reason }, async () => {
//     const { code, output } = await runInVm({ modules: ['ip_vs'], command: ['scripts/node', 'test/x/y.inside.ts'] });
//     assert.equal(code, 0, output);
//   });
//
// The command runs as root, from the repository's folder, and sees all files of the host at their own paths; what it
// writes is gone with the machine. There is no network but what the command makes. Modules load by themselves as on any
// Debian (a rule with `-m set` loads xt_set); name those that nothing asks for. QEMU emulates the processor: a start
// takes 3 s, and a program that computes runs at about a tenth of its speed. So one machine runs a whole file of tests,
// `….inside.ts` (which the test runner does not take for a test of this kernel), as one bundle: passesInside() of
// inside.ts does that.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { makeInitramfs } from './initramfs.ts';
import { debianKernel, type Kernel } from './kernel.ts';

const repository = resolve(import.meta.dirname, '../..');
/** What every Node.js of the machine reads first. */
const interpreted = join(import.meta.dirname, 'interpreted.cjs');
const qemu = '/usr/bin/qemu-system-x86_64';
/** Debian 12 has it in qemu-system-common, Debian 13 in virtiofsd. */
const fileServers = ['/usr/lib/qemu/virtiofsd', '/usr/libexec/virtiofsd'];

/** A processor of the machine that hangs for so long does not come back. */
const lockUpSeconds = 60;

/** What a machine is to do. */
export interface VmTask {
  /** Kernel modules loaded before the command. */
  readonly modules?: readonly string[];
  /** Program and arguments; the program's path is relative to the repository or absolute, or a name in PATH. */
  readonly command: readonly [string, ...string[]];
  readonly environment?: Readonly<Record<string, string>>;
  /** Default 120; the machine is ended then. */
  readonly timeoutSeconds?: number;
  /** Default 1024. */
  readonly memoryMegabytes?: number;
}

export interface VmResult {
  /** The command's exit code; 125 where a module could not be loaded. */
  readonly code: number;
  /** Standard output and standard error, as they came. */
  readonly output: string;
}

/** Why machines cannot run here, in one line for `skip`; false where they can. Fetches the kernel at its first call. */
export async function whyNoVm(): Promise<string | false> {
  if (process.arch !== 'x64') return 'test machines are made for x86_64 only';
  if (process.getuid?.() !== 0) return 'a test machine needs root: it reads all files of this one';
  if (!(await isExecutable(qemu))) return `${qemu} is not there: apt-get install qemu-system-x86`;
  if ((await fileServer()) === undefined) return 'virtiofsd is not there: apt-get install qemu-system-common';
  try {
    await debianKernel();
    return false;
  } catch (error) {
    return `Debian's cloud kernel cannot be had: ${error instanceof Error ? error.message.split('\n')[0] : error}`;
  }
}

/** Boots, runs the command, powers off. Throws where the machine does not come up or does not end in time. */
export async function runInVm(task: VmTask): Promise<VmResult> {
  const kernel = await debianKernel();
  const folder = await mkdtemp('/tmp/weft-vm-');
  const stop = new AbortController();
  try {
    await makeInitramfs(kernel, folder, join(folder, 'initramfs.cpio'));
    await writeFile(join(folder, 'modules'), lines(task.modules ?? []));
    await writeFile(join(folder, 'arguments'), lines(argumentsOf(task)));
    return await bootOrAgain(kernel, folder, task, stop.signal);
  } finally {
    stop.abort();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The processors of the machine hang in its kernel: seen once in some dozens of runs, with nothing but QEMU's emulation in common. */
class LockedUp extends Error {}

/** A machine that locks up says nothing of what was tested in it: it is told with all that its kernel said, and started anew, once. */
async function bootOrAgain(kernel: Kernel, folder: string, task: VmTask, signal: AbortSignal): Promise<VmResult> {
  const files = join(folder, 'files.sock');
  await serveFiles(files, signal);
  try {
    return await boot(kernel, folder, task);
  } catch (error) {
    if (!(error instanceof LockedUp)) throw error;
    process.stderr.write(`${error.message}\nIt is started anew.\n`);
    await rm(files, { force: true });
    await serveFiles(files, signal);
    return await boot(kernel, folder, task);
  }
}

async function boot(kernel: Kernel, folder: string, task: VmTask): Promise<VmResult> {
  const seconds = task.timeoutSeconds ?? 120;
  const [codeFile, outputFile, logFile] = ['code', 'output', 'kernel.log'].map((name) => join(folder, name));
  const read = (file = ''): Promise<string> => readFile(file, 'utf8').catch(() => '');
  // timeout(1) ends the machine also where this process is killed.
  const machine = spawn('timeout', ['--kill-after=1', `${seconds}`, qemu, ...qemuArguments(kernel, folder, task)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let isLockedUp = false;
  const watch = setInterval(async () => {
    const [, stuck = 0] =
      /soft lockup - CPU#\d+ stuck for (\d{2,})s(?![\s\S]*soft lockup)/.exec(await read(logFile)) ?? [];
    isLockedUp ||= Number(stuck) >= lockUpSeconds;
    if (isLockedUp) machine.kill();
  }, 1000);
  const [complaint, [ended]] = await Promise.all([text(machine.stderr), once(machine, 'exit')]);
  clearInterval(watch);
  const [code, output, log] = await Promise.all([read(codeFile), read(outputFile), read(logFile)]);
  if (code) return { code: Number(code), output };
  const said = `${output}\n${complaint}${log.split('\n').slice(-300).join('\n')}`;
  if (isLockedUp) throw new LockedUp(`the test machine locked up\n${said}`);
  const why = ended === 124 || ended === 137 ? `was not done after ${seconds} s` : `ended (${ended}) with no exit code`;
  throw new Error(`the test machine ${why}\n${said}`);
}

function qemuArguments(kernel: Kernel, folder: string, task: VmTask): string[] {
  const memory = `${task.memoryMegabytes ?? 1024}M`;
  const settings = {
    // Self-tests of ciphers and the mitigations of processor faults would be a third of an emulated start.
    kernel:
      'console=ttyS0 quiet loglevel=5 softlockup_all_cpu_backtrace=1 panic=-1 mitigations=off nokaslr audit=0 no_timer_check',
    own: `cryptomgr.notests apparmor=0 random.trust_cpu=on weft.run=${folder} weft.modules=${kernel.modules}`,
  };
  return [
    // AVX is emulated so slowly that programs which find it take twice the time; so do those that miss SSE 4.2 and AES.
    ...['-accel', 'tcg,thread=multi', '-cpu', 'Westmere', '-smp', '2', '-m', memory, '-M', 'q35'],
    // The file server reads and writes the machine's memory directly.
    ...['-object', `memory-backend-memfd,id=memory,size=${memory},share=on`, '-numa', 'node,memdev=memory'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', kernel.image, '-initrd', join(folder, 'initramfs.cpio')],
    ...['-append', `${settings.kernel} ${settings.own}`, '-serial', `file:${join(folder, 'kernel.log')}`],
    ...['-chardev', `socket,id=files,path=${join(folder, 'files.sock')}`],
    ...['-device', 'vhost-user-fs-pci,chardev=files,tag=host', '-device', 'virtio-serial-pci'],
    ...['-chardev', `file,id=output,path=${join(folder, 'output')}`, '-device', 'virtserialport,chardev=output,nr=1'],
    ...['-chardev', `file,id=code,path=${join(folder, 'code')}`, '-device', 'virtserialport,chardev=code,nr=2'],
  ];
}

function argumentsOf(task: VmTask): string[] {
  const environment = {
    PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    // Tests wait longer there, and look less often.
    WEFT_EMULATED: '1',
    // Where a cluster can be: the root is an overlay, which another overlay, such as a container's, cannot write to.
    TMPDIR: '/run',
    NODE_OPTIONS: `--require=${interpreted}`,
    WEFT_LOG: process.env.WEFT_LOG ?? 'silent',
    ...task.environment,
  };
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return ['/usr/bin/env', '-i', '-C', repository, ...variables, ...task.command];
}

/** One item a line, as the machine's init reads them. */
function lines(items: readonly string[]): string {
  for (const item of items) {
    if (item.includes('\n')) throw new Error(`a test machine takes no argument with a line break: ${item}`);
  }
  return items.map((item) => `${item}\n`).join('');
}

/** Starts the server of the host's files and waits for its socket; it ends with its machine or with the signal. */
async function serveFiles(socket: string, signal: AbortSignal): Promise<void> {
  const program = await fileServer();
  if (program === undefined) throw new Error('virtiofsd is not there: apt-get install qemu-system-common');
  const options = ['-o', 'source=/', '-o', 'cache=always', '-o', 'sandbox=chroot'];
  const server = spawn(program, [`--socket-path=${socket}`, ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
  signal.addEventListener('abort', () => server.kill('SIGKILL'), { once: true });
  const complaint = text(server.stderr);
  while (!(await isSocket(socket))) {
    if (server.exitCode !== null) throw new Error(`${program} ended at once: ${await complaint}`);
    await delay(5);
  }
}

async function fileServer(): Promise<string | undefined> {
  for (const program of fileServers) if (await isExecutable(program)) return program;
  return undefined;
}

async function isSocket(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isSocket(),
    () => false,
  );
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
