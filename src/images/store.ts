// The local image store, shared by all clusters of the machine: blobs by digest, and a small file for each name.
import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatReference, type ImageReference, parseReference } from './reference.ts';

export type Digest = `sha256:${string}`;

/** Points at a blob (OCI image specification, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/** What the store knows of one name. */
export interface NamedImage {
  readonly name: string;
  readonly manifest: Descriptor;
  /** Bytes of all its blobs. */
  readonly size: number;
  readonly created: string;
  /** What it was made from, for images that Weft makes: another value means that it is out of date. */
  readonly fingerprint?: string;
}

/** The parts of an OCI or Docker manifest that the store follows. */
export interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export const manifestType = 'application/vnd.oci.image.manifest.v1+json';
export const configType = 'application/vnd.oci.image.config.v1+json';
export const layerType = 'application/vnd.oci.image.layer.v1.tar';

/** Where the store is unless told otherwise: WEFT_CACHE, or the machine's cache folder. */
export function defaultStoreFolder(): string {
  return join(process.env.WEFT_CACHE ?? '/var/cache/weft', 'images');
}

/** An image store in a folder. Several processes may use one folder: every write is a rename. */
export class ImageStore {
  readonly folder: string;

  constructor(folder: string = defaultStoreFolder()) {
    this.folder = folder;
  }

  blobPath(digest: Digest): string {
    return join(this.folder, 'blobs', 'sha256', digest.slice('sha256:'.length));
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    return (await sizeOf(this.blobPath(digest))) !== undefined;
  }

  /** A new empty folder inside the store, on the same file system as the blobs; the caller removes it. */
  async scratch(): Promise<string> {
    const folder = join(this.folder, 'tmp', randomUUID());
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return folder;
  }

  /** Takes a file over as a blob: the file is moved (or linked) into the store. */
  async addFile(file: string, mediaType: string): Promise<Descriptor> {
    const digest = await digestOf(file);
    const size = (await stat(file)).size;
    await mkdir(join(this.folder, 'blobs', 'sha256'), { recursive: true, mode: 0o700 });
    await chmod(file, 0o600);
    try {
      await link(file, this.blobPath(digest));
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error;
    }
    await rm(file);
    return { mediaType, digest, size };
  }

  async addJson(value: unknown, mediaType: string): Promise<Descriptor> {
    const folder = await this.scratch();
    try {
      await writeFile(join(folder, 'json'), JSON.stringify(value));
      return await this.addFile(join(folder, 'json'), mediaType);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async readJson<T>(descriptor: Pick<Descriptor, 'digest'>): Promise<T> {
    return JSON.parse(await readFile(this.blobPath(descriptor.digest), 'utf8')) as T;
  }

  /** Gives a manifest a name; a name that exists moves to it. */
  async setName(name: string, manifest: Descriptor, fingerprint?: string): Promise<NamedImage> {
    const { config, layers } = await this.readJson<Manifest>(manifest);
    const size = [manifest, config, ...layers].reduce((sum, blob) => sum + blob.size, 0);
    const image: NamedImage = {
      name,
      manifest,
      size,
      created: new Date().toISOString(),
      ...(fingerprint && { fingerprint }),
    };
    await mkdir(join(this.folder, 'names'), { recursive: true, mode: 0o700 });
    await this.#replace(this.#namePath(name), image);
    return image;
  }

  /** The image of that name, if the store has it with all its blobs. */
  async find(reference: ImageReference): Promise<NamedImage | undefined> {
    if ('digest' in reference.version) return await this.#findDigest(reference.version.digest);
    const text = await readFile(this.#namePath(formatReference(reference)), 'utf8').catch((error: unknown) => {
      if (isCode(error, 'ENOENT')) return undefined;
      throw error;
    });
    if (text === undefined) return undefined;
    const image = JSON.parse(text) as NamedImage;
    return (await this.#isWhole(image)) ? image : undefined;
  }

  async list(): Promise<NamedImage[]> {
    const files = await readdir(join(this.folder, 'names')).catch(() => []);
    const images = await Promise.all(files.sort().map((file) => this.find(parseReference(decodeURIComponent(file)))));
    return images.filter((image) => image !== undefined);
  }

  /** A layer that was made before from the same recipe, if it is still there. */
  async findLayer(fingerprint: string): Promise<Descriptor | undefined> {
    const text = await readFile(join(this.folder, 'layers', fingerprint), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    const layer = JSON.parse(text) as Descriptor;
    return (await sizeOf(this.blobPath(layer.digest))) === layer.size ? layer : undefined;
  }

  async rememberLayer(fingerprint: string, layer: Descriptor): Promise<void> {
    await mkdir(join(this.folder, 'layers'), { recursive: true, mode: 0o700 });
    await this.#replace(join(this.folder, 'layers', fingerprint), layer);
  }

  /** Writes a whole file or nothing of it. */
  async #replace(file: string, value: unknown): Promise<void> {
    const folder = await this.scratch();
    await writeFile(join(folder, 'new'), `${JSON.stringify(value, undefined, 2)}\n`, { mode: 0o600 });
    await rename(join(folder, 'new'), file);
    await rm(folder, { recursive: true, force: true });
  }

  #namePath(name: string): string {
    return join(this.folder, 'names', encodeURIComponent(name));
  }

  async #findDigest(digest: string): Promise<NamedImage | undefined> {
    return (await this.list()).find((image) => image.manifest.digest === digest);
  }

  async #isWhole(image: NamedImage): Promise<boolean> {
    if (!(await this.hasBlob(image.manifest.digest))) return false;
    const { config, layers } = await this.readJson<Manifest>(image.manifest);
    const there = await Promise.all(
      [config, ...layers].map(async (blob) => (await sizeOf(this.blobPath(blob.digest))) === blob.size),
    );
    return there.every(Boolean);
  }
}

async function sizeOf(file: string): Promise<number | undefined> {
  return await stat(file).then(
    (found) => found.size,
    () => undefined,
  );
}

async function digestOf(file: string): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
