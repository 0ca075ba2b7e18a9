// The store, the recipes that need no network, archives, and the gateway, all over Unix sockets in a folder of the test.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { createLog } from '../log/log.ts';
import { importArchive } from './archive.ts';
import { ensureImage } from './build.ts';
import { startImageGateway } from './gateway.ts';
import { ImageStore, type Manifest } from './store.ts';

process.env.WEFT_LOG = 'silent';
const folder = mkdtempSync('/tmp/weft-images-');
after(() => rmSync(folder, { recursive: true, force: true }));
const newStore = (name: string): ImageStore => new ImageStore(join(folder, name));
const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex');

interface Answer {
  readonly status: number;
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

async function ask(socketPath: string, path: string, method = 'GET'): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const req = request({ socketPath, path, method, agent: false }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('end', () => resolve({ status: res.statusCode ?? 0, body: Buffer.concat(chunks), headers: res.headers }));
    });
    req.on('error', reject);
    req.end();
  });
}

test('an image is made once, and its manifest describes blobs of the store by their true digests', async () => {
  const store = newStore('made');
  const steps: string[] = [];
  const image = await ensureImage('weft.local/busybox:1', store, (step) => steps.push(step));
  await ensureImage('weft.local/busybox:1', store, (step) => steps.push(step));
  assert.equal(steps.length, 1);
  const { config, layers } = await store.readJson<Manifest>(image.manifest);
  for (const blob of [image.manifest, config, ...layers]) {
    assert.equal(`sha256:${sha256(readFileSync(store.blobPath(blob.digest)))}`, blob.digest);
  }
  assert.deepEqual(
    (await store.list()).map((one) => one.name),
    ['weft.local/busybox:1'],
  );
});

test('two makers of one image at the same time make it once', async () => {
  const [first, second] = await Promise.all(
    ['both', 'both'].map((name) => ensureImage('weft.local/pause:1', newStore(name))),
  );
  assert.deepEqual(first?.created, second?.created);
});

test('a name without image or recipe says what to do', async () => {
  await assert.rejects(
    ensureImage('weft.local/nosuch:1', newStore('none')),
    /no image weft.local\/nosuch:1: import it with/,
  );
});

test('an archive of docker save is imported under its names, compressed layers too', async () => {
  const content = join(folder, 'docker');
  mkdirSync(content);
  const layer = gzipSync(Buffer.alloc(1024));
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(Buffer.alloc(1024))}`] },
  });
  writeFileSync(join(content, 'layer.tar'), layer);
  writeFileSync(join(content, 'config.json'), config);
  writeFileSync(
    join(content, 'manifest.json'),
    JSON.stringify([{ Config: 'config.json', RepoTags: ['shop:2', 'example.com/shop:2'], Layers: ['layer.tar'] }]),
  );
  execFileSync('tar', ['-cf', join(folder, 'docker.tar'), '-C', content, '.']);
  const store = newStore('imported');
  const images = await importArchive(join(folder, 'docker.tar'), store);
  assert.deepEqual(
    images.map((image) => image.name),
    ['docker.io/library/shop:2', 'example.com/shop:2'],
  );
  const { layers } = await store.readJson<Manifest>(images[0]?.manifest ?? assert.fail());
  assert.deepEqual(layers, [
    { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: `sha256:${sha256(layer)}`, size: layer.length },
  ]);
});

test('an archive in OCI form is imported, and one whose blobs are damaged is refused and leaves no name', async () => {
  const source = newStore('oci-source');
  const image = await ensureImage('weft.local/busybox:1', source);
  const content = join(folder, 'oci');
  const pack = (file: string, damage: boolean): void => {
    mkdirSync(join(content, 'blobs/sha256'), { recursive: true });
    execFileSync('cp', ['-r', join(source.folder, 'blobs'), content]);
    writeFileSync(
      join(content, 'index.json'),
      JSON.stringify({
        schemaVersion: 2,
        manifests: [{ ...image.manifest, annotations: { 'io.containerd.image.name': 'example.com/box:7' } }],
      }),
    );
    if (damage)
      writeFileSync(
        join(content, 'blobs/sha256', image.manifest.digest.slice(7)),
        readFileSync(source.blobPath(image.manifest.digest), 'utf8').replace('{', '{ '),
      );
    execFileSync('tar', ['-cf', file, '-C', content, '.']);
  };
  pack(join(folder, 'oci.tar'), false);
  const store = newStore('oci-target');
  assert.deepEqual(
    (await importArchive(join(folder, 'oci.tar'), store)).map((one) => one.name),
    ['example.com/box:7'],
  );
  pack(join(folder, 'damaged.tar'), true);
  const empty = newStore('oci-damaged');
  await assert.rejects(importArchive(join(folder, 'damaged.tar'), empty), /is damaged: the blob/);
  assert.deepEqual(await empty.list(), []);
});

test('an archive cannot make the store read files outside of it', async () => {
  const content = join(folder, 'links');
  mkdirSync(content);
  execFileSync('ln', ['-s', '/etc/hostname', join(content, 'config.json')]);
  for (const config of ['config.json', '../../x', '/etc/hostname']) {
    writeFileSync(join(content, 'manifest.json'), JSON.stringify([{ Config: config, RepoTags: ['a:1'], Layers: [] }]));
    execFileSync('tar', ['-cf', join(folder, 'links.tar'), '-C', content, '.']);
    await assert.rejects(
      importArchive(join(folder, 'links.tar'), newStore('links-target')),
      /leads out of the archive|not a file/,
    );
  }
});

test('what is no archive is refused by its name', async () => {
  writeFileSync(join(folder, 'text.tar'), 'hello');
  await assert.rejects(
    importArchive(join(folder, 'text.tar'), newStore('text')),
    /text\.tar is not an archive of images/,
  );
});

test('the registry makes an image when it is first pulled, and answers in the form of the distribution specification', async () => {
  const store = newStore('gateway');
  const [registrySocket, proxySocket] = [join(folder, 'registry.sock'), join(folder, 'proxy.sock')];
  const gateway = await startImageGateway({
    registrySocket,
    proxySocket,
    store: store.folder,
    offline: true,
    log: createLog('test'),
  });
  try {
    assert.equal(statSync(registrySocket).mode & 0o777, 0o600);
    const head = await ask(registrySocket, '/v2/busybox/manifests/1?ns=weft.local', 'HEAD');
    assert.equal(head.status, 200);
    const manifest = await ask(
      registrySocket,
      `/v2/busybox/manifests/${head.headers['docker-content-digest']}?ns=weft.local`,
    );
    assert.equal(`sha256:${sha256(manifest.body)}`, head.headers['docker-content-digest']);
    const { layers } = JSON.parse(manifest.body.toString()) as Manifest;
    const blob = await ask(registrySocket, `/v2/busybox/blobs/${layers[0]?.digest}?ns=weft.local`);
    assert.equal(`sha256:${sha256(blob.body)}`, layers[0]?.digest);
    assert.equal((await ask(registrySocket, '/v2/library/nginx/manifests/latest?ns=docker.io')).status, 404);
    assert.equal((await ask(registrySocket, '/v2/busybox/manifests/1', 'PUT')).status, 405);
    assert.equal((await ask(registrySocket, '/v2/..%2f..%2fx/blobs/sha256:..')).status, 404);
  } finally {
    await gateway.stop();
  }
});

test('the forward proxy of an offline cluster connects to nobody and says why', async () => {
  const [registrySocket, proxySocket] = [join(folder, 'r2.sock'), join(folder, 'p2.sock')];
  const gateway = await startImageGateway({
    registrySocket,
    proxySocket,
    store: join(folder, 'p2'),
    offline: true,
    log: createLog('test'),
  });
  try {
    const message = await new Promise<string>((resolve, reject) => {
      const req = request({ socketPath: proxySocket, method: 'CONNECT', path: 'registry.invalid:443', agent: false });
      req.on('connect', (res) => resolve(`${res.statusCode} ${res.statusMessage}`));
      req.on('error', reject);
      req.end();
    });
    assert.match(message, /^403 outside registries are switched off/);
    assert.equal((await ask(proxySocket, 'http://registry.invalid/v2/')).status, 403);
  } finally {
    await gateway.stop();
  }
});
