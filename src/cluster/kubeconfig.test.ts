// Tests of merging into a kubeconfig and taking out of it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { changeKubeconfig, kubeconfigText, mergeKubeconfig, removeFromKubeconfig } from './kubeconfig.ts';

const access = (cluster: string) => ({
  context: `weft-${cluster}`,
  server: 'https://127.0.0.1:6443',
  ca: 'CA',
  cert: 'CERT',
  key: 'KEY',
});

const others = `# mine
apiVersion: v1
kind: Config
current-context: work
clusters:
  - name: work
    cluster: {server: https://work:6443}
contexts:
  - name: work
    context: {cluster: work, user: me}
users:
  - name: me
    user: {token: secret}
`;

test('a new kubeconfig has the cluster as its current context', () => {
  const config = parse(mergeKubeconfig('', access('a')));
  assert.equal(config['current-context'], 'weft-a');
  assert.deepEqual(config.contexts, [{ name: 'weft-a', context: { cluster: 'weft-a', user: 'weft-a' } }]);
  assert.equal(Buffer.from(config.users[0].user['client-key-data'], 'base64').toString(), 'KEY');
});

test('merging keeps what is there, comments too, and replaces an entry of the same name', () => {
  const once = mergeKubeconfig(others, access('a'));
  const twice = mergeKubeconfig(once, { ...access('a'), server: 'https://127.0.0.1:7000' });
  assert.match(twice, /^# mine/);
  const config = parse(twice);
  assert.deepEqual(
    config.clusters.map(({ name, cluster }: { name: string; cluster: { server: string } }) => [name, cluster.server]),
    [
      ['work', 'https://work:6443'],
      ['weft-a', 'https://127.0.0.1:7000'],
    ],
  );
  assert.equal(config.users[0].user.token, 'secret');
  assert.equal(config['current-context'], 'weft-a');
});

test('removing takes out the three entries and nothing else', () => {
  const removed = removeFromKubeconfig(mergeKubeconfig(others, access('a')), 'weft-a');
  const config = parse(removed ?? '');
  assert.deepEqual([config.clusters.length, config.contexts.length, config.users.length], [1, 1, 1]);
  assert.equal(config['current-context'], '');
  assert.equal(removeFromKubeconfig(others, 'weft-a'), undefined);
});

test('lists that are absent, null or empty are filled', () => {
  for (const list of ['', 'clusters: null\ncontexts: []\n'])
    assert.equal(parse(mergeKubeconfig(`apiVersion: v1\nkind: Config\n${list}`, access('a'))).contexts.length, 1);
});

test('a kubeconfig is for its owner alone, and a lock of kubectl is respected', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-kubeconfig-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'sub', 'config');
  changeKubeconfig(file, () => kubeconfigText(access('a')));
  assert.equal(statSync(file).mode & 0o777, 0o600);
  writeFileSync(`${file}.lock`, '');
  assert.throws(() => changeKubeconfig(file, () => 'x', 0), /config\.lock is there/);
  rmSync(`${file}.lock`);
  changeKubeconfig(file, () => undefined);
  assert.match(readFileSync(file, 'utf8'), /weft-a/);
});

test('the lock of another program is waited for', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-kubeconfig-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'config');
  writeFileSync(`${file}.lock`, '');
  const holder = spawn('sh', ['-c', 'sleep 0.1; rm "$1"', 'sh', `${file}.lock`]);
  t.after(() => holder.kill());
  changeKubeconfig(file, () => kubeconfigText(access('a')));
  assert.match(readFileSync(file, 'utf8'), /weft-a/);
});

test('what is no kubeconfig is refused with the name of the file', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-kubeconfig-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'config');
  writeFileSync(file, '- a\n- b\n');
  assert.throws(() => changeKubeconfig(file, (text) => mergeKubeconfig(text, access('a'))), /config: is no kubeconfig/);
});
