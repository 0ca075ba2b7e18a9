// Imports images from the archives that `docker save`, `podman save` and `skopeo copy` write: Docker's form and OCI's.
import { execFile } from 'node:child_process';
import { lstat, mkdir, open, readFile, rm } from 'node:fs/promises';
import { join, normalize } from 'node:path';
import { promisify } from 'node:util';
import { formatReference, parseReference } from './reference.ts';
import { type Descriptor, type ImageStore, type Manifest, manifestType, type NamedImage } from './store.ts';

const run = promisify(execFile);

interface DockerEntry {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
  readonly Layers: readonly string[];
}

interface Index {
  readonly manifests: readonly (Descriptor & {
    readonly annotations?: Readonly<Record<string, string>>;
    readonly platform?: { readonly architecture: string; readonly os: string };
  })[];
}

const indexTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];

/**
 * Puts every named image of an archive into the store and returns them. Throws an Error that names the file where it
 * holds none, or is damaged; then nothing of it has a name in the store.
 */
export async function importArchive(file: string, store: ImageStore): Promise<NamedImage[]> {
  const folder = await store.scratch();
  try {
    await mkdir(join(folder, 'content'));
    await run('tar', [
      '--extract',
      `--file=${file}`,
      `--directory=${join(folder, 'content')}`,
      '--no-same-owner',
      '--no-same-permissions',
    ]).catch((error: Error & { stderr?: string }) => {
      throw new Error(`${file} is not an archive of images: ${(error.stderr ?? error.message).trim().split('\n')[0]}`);
    });
    const content = new ArchiveContent(file, join(folder, 'content'));
    const found = (await content.has('manifest.json'))
      ? await importDocker(content, store)
      : await importOci(content, store);
    const images: NamedImage[] = [];
    for (const { name, manifest } of found)
      images.push(await store.setName(formatReference(parseReference(name)), manifest));
    return images;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** An unpacked archive, of which only regular files inside of it are read: it may hold links to anywhere. */
class ArchiveContent {
  readonly file: string;
  readonly #folder: string;

  constructor(file: string, folder: string) {
    this.file = file;
    this.#folder = folder;
  }

  async has(path: string): Promise<boolean> {
    return (await lstat(join(this.#folder, path)).catch(() => undefined))?.isFile() ?? false;
  }

  async path(path: string): Promise<string> {
    const inside = normalize(path);
    const parts = inside.split('/');
    if (inside.startsWith('/') || parts.includes('..'))
      throw new Error(`${this.file}: the path ${path} leads out of the archive`);
    for (let depth = 1; depth <= parts.length; depth++) {
      const found = await lstat(join(this.#folder, ...parts.slice(0, depth))).catch(() => undefined);
      const expected = depth === parts.length ? found?.isFile() : found?.isDirectory();
      if (!expected) throw new Error(`${this.file}: ${path} is missing from the archive or not a file`);
    }
    return join(this.#folder, inside);
  }

  async json<T>(path: string): Promise<T> {
    try {
      return JSON.parse(await readFile(await this.path(path), 'utf8')) as T;
    } catch (error) {
      if (error instanceof SyntaxError) throw new Error(`${this.file}: ${path} is not JSON`);
      throw error;
    }
  }
}

interface Found {
  readonly name: string;
  readonly manifest: Descriptor;
}

async function importDocker(content: ArchiveContent, store: ImageStore): Promise<Found[]> {
  const found: Found[] = [];
  for (const entry of await content.json<readonly DockerEntry[]>('manifest.json')) {
    if (!entry.RepoTags?.length)
      throw new Error(
        `${content.file} holds an image without a name: save it by its name, as in 'docker save NAME:TAG'`,
      );
    const config = await store.addFile(await content.path(entry.Config), 'application/vnd.oci.image.config.v1+json');
    const layers: Descriptor[] = [];
    for (const layer of entry.Layers) layers.push(await addLayer(content, layer, store, layers));
    const manifest = await store.addJson(
      { schemaVersion: 2, mediaType: manifestType, config, layers } satisfies Manifest,
      manifestType,
    );
    found.push(...entry.RepoTags.map((name) => ({ name, manifest })));
  }
  return found;
}

/** Layers are moved into the store: one that the archive names twice has been moved by its first mention. */
async function addLayer(
  content: ArchiveContent,
  layer: string,
  store: ImageStore,
  before: readonly Descriptor[],
): Promise<Descriptor> {
  const digest = /(?:^|\/)sha256\/([0-9a-f]{64})$/.exec(layer)?.[1];
  const known = before.find((one) => one.digest === `sha256:${digest}`);
  if (known !== undefined) return known;
  const path = await content.path(layer);
  const mediaType = `application/vnd.oci.image.layer.v1.tar${await compressionOf(path)}`;
  return await store.addFile(path, mediaType);
}

/** The suffix of the media type, by the file's first bytes (RFC 1952, RFC 8878). */
async function compressionOf(path: string): Promise<'' | '+gzip' | '+zstd'> {
  const handle = await open(path);
  try {
    const start = Buffer.alloc(4);
    await handle.read(start, 0, 4, 0);
    if (start.readUInt16BE(0) === 0x1f8b) return '+gzip';
    return start.readUInt32LE(0) === 0xfd2fb528 ? '+zstd' : '';
  } finally {
    await handle.close();
  }
}

async function importOci(content: ArchiveContent, store: ImageStore): Promise<Found[]> {
  if (!(await content.has('index.json')))
    throw new Error(`${content.file} is not an archive of images: it holds neither manifest.json nor index.json`);
  const found: Found[] = [];
  for (const entry of (await content.json<Index>('index.json')).manifests) {
    const name =
      entry.annotations?.['io.containerd.image.name'] ?? entry.annotations?.['org.opencontainers.image.ref.name'];
    if (name === undefined)
      throw new Error(
        `${content.file} holds an image without a name: its index.json needs the annotation io.containerd.image.name`,
      );
    found.push({ name, manifest: await takeManifest(content, entry, store) });
  }
  return found;
}

async function takeManifest(content: ArchiveContent, entry: Descriptor, store: ImageStore): Promise<Descriptor> {
  const path = (digest: string): string => `blobs/${digest.replace(':', '/')}`;
  if (indexTypes.includes(entry.mediaType)) {
    const arch = process.arch === 'x64' ? 'amd64' : process.arch;
    const { manifests } = await content.json<Index>(path(entry.digest));
    const ours = manifests.find(
      (one) => one.platform === undefined || (one.platform.architecture === arch && one.platform.os === 'linux'),
    );
    if (ours === undefined) throw new Error(`${content.file} holds no image for linux/${arch}`);
    return await takeManifest(content, ours, store);
  }
  const { config, layers } = await content.json<Manifest>(path(entry.digest));
  for (const blob of [config, ...layers, entry]) {
    if (await store.hasBlob(blob.digest)) continue;
    const added = await store.addFile(await content.path(path(blob.digest)), blob.mediaType);
    if (added.digest !== blob.digest)
      throw new Error(`${content.file} is damaged: the blob ${blob.digest} is really ${added.digest}`);
  }
  return { mediaType: entry.mediaType, digest: entry.digest, size: entry.size };
}
