// Makes an image from its recipe: a layer with the root file system, a small one with the recipe's own files.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { debianRoot } from './debian.ts';
import { loadablePart } from './elf.ts';
import { findRecipe, type Recipe, type RecipeFile, recipes } from './recipes.ts';
import { formatReference, parseReference } from './reference.ts';
import {
  configType,
  type Descriptor,
  type ImageStore,
  isCode,
  layerType,
  manifestType,
  type NamedImage,
} from './store.ts';

const run = promisify(execFile);

/** Told what is being made, in words for a person; called once for each step that takes long. */
export type Progress = (step: string) => void;

/** The project's own folder: where dist/, examples/ and the package are. */
const projectRoot = findProjectRoot(import.meta.dirname);

function findProjectRoot(from: string): string {
  const marks = ['/src/', '/dist/', '/dist', '/src'];
  const mark = marks.map((part) => from.lastIndexOf(part)).find((index) => index >= 0);
  return mark === undefined ? from : from.slice(0, mark);
}

/**
 * The image of that name: from the store, or made now if Weft has a recipe for it and the store's one is missing or out
 * of date. Throws an Error that says what to do where there is neither.
 */
export async function ensureImage(name: string, store: ImageStore, progress: Progress = () => {}): Promise<NamedImage> {
  const reference = parseReference(name);
  const full = formatReference(reference);
  const recipe = findRecipe(full);
  const found = await store.find(reference);
  if (recipe === undefined) {
    if (found !== undefined) return found;
    throw new Error(
      `there is no image ${full}: import it with './weft image import FILE.tar', or use one of ${recipes.map((one) => one.name).join(', ')}`,
    );
  }
  const fingerprint = await fingerprintOf(recipe);
  if (found?.fingerprint === fingerprint) return found;
  return await withLock(store, full, async () => {
    const meanwhile = await store.find(reference);
    if (meanwhile?.fingerprint === fingerprint) return meanwhile;
    progress(`making the image ${full} (${recipe.summary})`);
    return await build(recipe, fingerprint, store, progress);
  });
}

async function build(recipe: Recipe, fingerprint: string, store: ImageStore, progress: Progress): Promise<NamedImage> {
  const layers = [await rootLayer(recipe, store, progress)];
  if (recipe.files !== undefined) layers.push(await filesLayer(recipe.files, store));
  const config = await store.addJson(
    {
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: recipe.config,
      // The layers are plain tar archives: the digest of what is stored is that of what is unpacked.
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    },
    configType,
  );
  const manifest = await store.addJson({ schemaVersion: 2, mediaType: manifestType, config, layers }, manifestType);
  return await store.setName(recipe.name, manifest, fingerprint);
}

async function rootLayer(recipe: Recipe, store: ImageStore, progress: Progress): Promise<Descriptor> {
  const fingerprint = await rootFingerprint(recipe);
  const known = await store.findLayer(fingerprint);
  if (known !== undefined) return known;
  const folder = await store.scratch();
  try {
    const tar = join(folder, 'layer.tar');
    if (recipe.root.type === 'debian') await debianRoot(recipe.root, tar, progress);
    else {
      const root = join(folder, 'root');
      await layBusybox(root);
      if (recipe.root.type === 'node') await layNode(root, recipe.root);
      await archive(root, tar);
    }
    const layer = await store.addFile(tar, layerType);
    await store.rememberLayer(fingerprint, layer);
    return layer;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function filesLayer(files: readonly RecipeFile[], store: ImageStore): Promise<Descriptor> {
  const folder = await store.scratch();
  try {
    const root = join(folder, 'root');
    for (const file of files) {
      const target = join(root, file.path);
      await mkdir(dirname(target), { recursive: true, mode: 0o755 });
      if ('link' in file) await symlink(file.link, target);
      else await writeFile(target, await contentOf(file), { mode: file.mode ?? 0o644 });
    }
    await archive(root, join(folder, 'layer.tar'));
    return await store.addFile(join(folder, 'layer.tar'), layerType);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function contentOf(file: RecipeFile): Promise<string | Buffer> {
  if ('link' in file) return file.link;
  return 'text' in file ? file.text : await readFile(join(projectRoot, file.from));
}

const staticBusybox = '/bin/busybox';

async function layBusybox(root: string): Promise<void> {
  for (const folder of ['bin', 'etc', 'tmp', 'root', 'usr', 'var/www', 'home'])
    await mkdir(join(root, folder), { recursive: true, mode: 0o755 });
  await copyFile(staticBusybox, join(root, 'bin/busybox')).catch((error: unknown) => {
    throw isCode(error, 'ENOENT') ? new Error(`${staticBusybox} is missing: apt-get install busybox-static`) : error;
  });
  const { stdout } = await run(staticBusybox, ['--list']);
  for (const applet of stdout.split('\n').filter((line) => line !== '' && line !== 'busybox'))
    await symlink('busybox', join(root, 'bin', applet));
  await writeFile(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
  );
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nnogroup:x:65534:\n');
}

/** This very Node.js, and programs, with their shared libraries, where the loader looks for them, without symbols. */
async function layNode(
  root: string,
  { programs = [], mounted }: Extract<Recipe['root'], { type: 'node' }>,
): Promise<void> {
  const files = new Map<string, string>([...(mounted ? [] : [['/usr/bin/node', process.execPath] as const])]);
  for (const program of [process.execPath, ...programs]) {
    const { stdout } = await run('ldd', [program]).catch((error: unknown) => {
      throw new Error(`the libraries of ${program} cannot be found: ${error instanceof Error ? error.message : error}`);
    });
    for (const [, file = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) files.set(file, file);
    if (program !== process.execPath) files.set(program, program);
  }
  for (const [to, from] of files) {
    await mkdir(join(root, dirname(to)), { recursive: true, mode: 0o755 });
    await writeFile(join(root, to), loadablePart(await readFile(from)), { mode: 0o755 });
  }
}

/** An archive that is the same for the same content: sorted, no times, no owners. */
async function archive(root: string, file: string): Promise<void> {
  await run('tar', [
    '--create',
    '--sort=name',
    '--mtime=@0',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--format=gnu',
    `--file=${file}`,
    `--directory=${root}`,
    '.',
  ]);
}

async function rootFingerprint(recipe: Recipe): Promise<string> {
  const inputs =
    recipe.root.type === 'debian'
      ? []
      : [staticBusybox, ...(recipe.root.type === 'node' ? [process.execPath, ...(recipe.root.programs ?? [])] : [])];
  const sizes = await Promise.all(inputs.map(async (file) => (await stat(file).catch(() => undefined))?.size));
  // Without symbols: so that a layer of an earlier Weft, which had them, is not taken for it.
  const form = recipe.root.type === 'node' ? ['loadable'] : [];
  return sha256(JSON.stringify([recipe.root, process.arch, process.version, sizes, ...form]));
}

async function fingerprintOf(recipe: Recipe): Promise<string> {
  const files = await Promise.all(
    (recipe.files ?? []).map(async (file) => [file.path, file.mode, sha256(await contentOf(file))]),
  );
  return sha256(JSON.stringify([await rootFingerprint(recipe), recipe.config, files]));
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

/**
 * Lets one process at a time make an image. The lock is SQLite's, which the kernel takes back from a process that was
 * killed: there is no stale lock to reason about.
 */
async function withLock<T>(store: ImageStore, name: string, action: () => Promise<T>): Promise<T> {
  const folder = join(store.folder, 'locks');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { DatabaseSync } = await import('node:sqlite');
  const lock = new DatabaseSync(join(folder, encodeURIComponent(name)));
  try {
    while (!tryLock(lock)) await sleep(100);
    return await action();
  } finally {
    lock.close();
  }
}

function tryLock(lock: { exec(sql: string): void }): boolean {
  try {
    lock.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    if (error instanceof Error && /locked|busy/i.test(error.message)) return false;
    throw error;
  }
}
