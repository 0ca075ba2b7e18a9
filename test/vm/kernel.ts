// Debian's cloud kernel and its modules for test machines: fetched once into the cache folder, never installed.
import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A kernel that a test machine can boot. */
export interface Kernel {
  /** As `uname -r` says it. */
  readonly release: string;
  readonly image: string;
  /** The folder with the modules and what depmod made of them. */
  readonly modules: string;
}

/** The cached kernel; fetched from Debian's archive where there is none. Throws where the archive cannot be read. */
export async function debianKernel(): Promise<Kernel> {
  const cache = join(process.env.WEFT_CACHE ?? '/var/cache/weft', 'vm');
  await mkdir(cache, { recursive: true });
  return (await cachedKernel(cache)) ?? (await fetchKernel(cache));
}

async function cachedKernel(cache: string): Promise<Kernel | undefined> {
  const releases = (await readdir(cache)).filter((name) => name.endsWith('-cloud-amd64')).sort();
  const release = releases.at(-1);
  if (release === undefined) return undefined;
  const root = join(cache, release);
  return {
    release,
    image: join(root, 'boot', `vmlinuz-${release}`),
    modules: join(root, 'lib/modules', release),
  };
}

async function fetchKernel(cache: string): Promise<Kernel> {
  const { stdout } = await run('apt-cache', ['depends', '--important', 'linux-image-cloud-amd64']);
  const release = /Depends: linux-image-(\S+-cloud-amd64)/.exec(stdout)?.[1];
  if (release === undefined) throw new Error('apt-cache knows no package linux-image-cloud-amd64: apt-get update');
  const work = await mkdtemp(join(cache, 'fetch-'));
  try {
    await run('apt-get', ['download', '-qq', `linux-image-${release}`], { cwd: work });
    const archive = (await readdir(work)).find((name) => name.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download linux-image-${release} left no package`);
    const root = join(work, 'root');
    await run('dpkg-deb', ['-x', join(work, archive), root]);
    await run('busybox', ['depmod', '-b', root, release]);
    // Whole or not at all: two tests that fetch at once must not see each other's half.
    await rename(root, join(cache, release)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const kernel = await cachedKernel(cache);
  if (kernel === undefined) throw new Error(`${cache} has no kernel although linux-image-${release} was unpacked`);
  await access(kernel.image);
  return kernel;
}
