// A read-only registry over the local store, by which the nodes' container runtimes pull (OCI distribution
// specification 1.1, "Pull"). Images that Weft can make are made when they are first asked for.
import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Log } from '../log/log.ts';
import { ensureImage } from './build.ts';
import { findRecipe } from './recipes.ts';
import { formatReference, parseReference } from './reference.ts';
import { type Digest, type ImageStore, isCode, type NamedImage } from './store.ts';

/** Answers one request of a runtime. The query's `ns` says for which registry this one stands in. */
export async function serveRegistry(
  req: IncomingMessage,
  res: ServerResponse,
  store: ImageStore,
  log: Log,
): Promise<void> {
  const url = new URL(req.url ?? '/', 'http://registry');
  const match = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url.pathname);
  if (req.method !== 'GET' && req.method !== 'HEAD')
    return refuse(res, 405, 'UNSUPPORTED', 'this registry is read-only');
  if (url.pathname === '/v2/' || url.pathname === '/v2')
    return void res.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  const [, repository = '', what, version = ''] = match ?? [];
  if (what === 'blobs') return await sendBlob(req, res, store, version);
  if (what !== 'manifests') return refuse(res, 404, 'NAME_UNKNOWN', 'no such path');
  try {
    const image = await findImage(url.searchParams.get('ns') ?? 'docker.io', repository, version, store, log);
    if (image === undefined)
      return refuse(res, 404, 'MANIFEST_UNKNOWN', `${repository}:${version} is not in the local image store`);
    await sendFile(req, res, store.blobPath(image.manifest.digest), image.manifest.mediaType, image.manifest.digest);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    log.warn({ image: `${repository}:${version}`, error: message }, 'an image could not be served');
    if (!res.headersSent) refuse(res, error instanceof RangeError ? 400 : 503, 'UNKNOWN', message);
  }
}

async function findImage(
  host: string,
  repository: string,
  version: string,
  store: ImageStore,
  log: Log,
): Promise<NamedImage | undefined> {
  const reference = parseReference(`${host}/${repository}${version.startsWith('sha256:') ? '@' : ':'}${version}`);
  const name = formatReference(reference);
  if (findRecipe(name) !== undefined) return await ensureImage(name, store, (step) => log.info(step));
  return (await store.find(reference)) ?? (await manifestByDigest(reference.version, store));
}

/** A runtime asks by name first and by digest then: a manifest of the store needs no name for the second. */
async function manifestByDigest(
  version: { tag: string } | { digest: string },
  store: ImageStore,
): Promise<NamedImage | undefined> {
  if (!('digest' in version) || !(await store.hasBlob(version.digest as Digest))) return undefined;
  return (await store.list()).find((image) => image.manifest.digest === version.digest);
}

async function sendBlob(req: IncomingMessage, res: ServerResponse, store: ImageStore, digest: string): Promise<void> {
  if (!isDigest(digest) || !(await store.hasBlob(digest)))
    return refuse(res, 404, 'BLOB_UNKNOWN', `${digest} is not in the local image store`);
  await sendFile(req, res, store.blobPath(digest), 'application/octet-stream', digest);
}

function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

async function sendFile(
  req: IncomingMessage,
  res: ServerResponse,
  file: string,
  type: string,
  digest: Digest,
): Promise<void> {
  const stream = createReadStream(file, { highWaterMark: 1 << 18 });
  const size = await new Promise<number>((resolve, reject) => {
    stream.once('error', reject);
    stream.once('open', (fd) => {
      import('node:fs').then(
        ({ fstat }) => fstat(fd, (error, found) => (error ? reject(error) : resolve(found.size))),
        reject,
      );
    });
  });
  res.writeHead(200, { 'content-type': type, 'content-length': size, 'docker-content-digest': digest });
  if (req.method === 'HEAD') {
    stream.destroy();
    res.end();
    return;
  }
  await pipeline(stream, res).catch((error: unknown) => {
    // A runtime that has enough closes the connection.
    if (!isCode(error, 'ERR_STREAM_PREMATURE_CLOSE')) throw error;
  });
}

/** An error in the registry's form; its message is what `kubectl describe pod` shows. */
function refuse(res: ServerResponse, status: number, code: string, message: string): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ errors: [{ code, message }] }));
}
