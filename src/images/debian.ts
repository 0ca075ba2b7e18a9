// Root file systems from Debian packages, by mmdebstrap: from the package sources that the machine itself uses.
import { spawn } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import type { Progress } from './build.ts';
import type { Recipe } from './recipes.ts';

type DebianRoot = Extract<Recipe['root'], { type: 'debian' }>;

/** What no container of ours reads: half of the size of an image. */
const excluded = [
  '/usr/share/man/*',
  '/usr/share/doc/*',
  '/usr/share/locale/*',
  '/usr/share/info/*',
  '/usr/share/lintian/*',
  '/usr/share/mariadb/mysql-test/*',
];

/** Writes the archive of a root file system with these packages. Throws an Error with the last lines of what failed. */
export async function debianRoot(root: DebianRoot, tarFile: string, progress: Progress): Promise<void> {
  const [suite, sources] = await Promise.all([codename(), sourceFiles()]);
  await needMmdebstrap(progress);
  await command('mmdebstrap', [
    '--quiet',
    '--mode=root',
    `--variant=${root.configured ? 'essential' : 'extract'}`,
    ...excluded.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    `--include=${root.packages.join(',')}`,
    ...(root.removed ?? []).map((path) => `--customize-hook=rm -rf "$1${path}"`),
    '--format=tar',
    suite,
    tarFile,
    ...sources,
  ]);
}

async function needMmdebstrap(progress: Progress): Promise<void> {
  if (await exists('/usr/bin/mmdebstrap')) return;
  progress('installing the Debian package mmdebstrap');
  if (!(await hasPackageLists())) await command('apt-get', ['update', '-qq']);
  await command('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'mmdebstrap']);
}

async function hasPackageLists(): Promise<boolean> {
  return (await readdir('/var/lib/apt/lists').catch(() => [])).some(
    (file) => file.endsWith('_Packages') || file.includes('_Packages.'),
  );
}

async function codename(): Promise<string> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const name = /^VERSION_CODENAME=(\S+)$/m.exec(release)?.[1];
  if (name === undefined || !/^ID(_LIKE)?=.*debian/m.test(release)) {
    throw new Error(
      "images are made from Debian's packages and this machine is not a Debian: import images with './weft image import FILE.tar'",
    );
  }
  return name;
}

/** The machine's own lists of package sources: only those that hold any. */
async function sourceFiles(): Promise<string[]> {
  const folder = '/etc/apt/sources.list.d';
  const files = (await readdir(folder).catch(() => []))
    .filter((file) => /\.(list|sources)$/.test(file))
    .map((file) => `${folder}/${file}`);
  const candidates = ['/etc/apt/sources.list', ...files.sort()];
  const texts = await Promise.all(candidates.map((file) => readFile(file, 'utf8').catch(() => '')));
  const debian = candidates.filter(
    (_, index) => /^\s*(deb\s|Types:.*\bdeb\b)/m.test(texts[index] ?? '') && /debian/i.test(texts[index] ?? ''),
  );
  if (debian.length === 0) throw new Error('/etc/apt names no Debian package sources to make images from');
  return debian;
}

async function exists(file: string): Promise<boolean> {
  return (await stat(file).catch(() => undefined)) !== undefined;
}

async function command(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
  });
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-4000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code === 0) return;
  const wrong = output.split('\n').filter((line) => /^(E:|Err|error)/i.test(line));
  throw new Error(
    `${program} failed: ${(wrong.length > 0 ? wrong : output.trim().split('\n')).slice(-3).join('; ') || `exit code ${code}`}`,
  );
}
