// The plugin under podman with its CNI backend: a runtime that no one here wrote. Left out where there is no podman.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';
import { Lab, type LabNode, runIn } from './lab.ts';

const busybox = '/usr/bin/busybox';
const version = spawnSync('podman', ['--version'], { encoding: 'utf8' }).stdout ?? '';
// From version 5 on podman has no CNI any more.
const skip = /version [34]\./.test(version) && existsSync(busybox) ? false : 'no podman with CNI, or no busybox-static';
const lab = new Lab({ clusterCidrs: ['10.244.0.0/16'] });
const dir = mkdtempSync('/tmp/wt-podman-');
let node: LabNode;
let far: LabNode;

before(async () => {
  if (skip !== false) return;
  node = lab.addNode(['10.244.1.0/24']);
  far = lab.addNode(['10.244.2.0/24']);
  await lab.start();
  for (const folder of ['bin', 'proc', 'sys', 'dev', 'etc', 'run', 'tmp', 'www'])
    mkdirSync(join(dir, 'rootfs', folder), { recursive: true });
  cpSync(busybox, join(dir, 'rootfs/bin/busybox'));
  writeFileSync(join(dir, 'rootfs/www/index.html'), 'from podman');
  writeFileSync(
    join(dir, 'storage.conf'),
    `[storage]\ndriver="vfs"\nrunroot="${dir}/runroot"\ngraphroot="${dir}/store"\n`,
  );
  writeFileSync(
    join(dir, 'containers.conf'),
    [
      '[engine]\nruntime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="file"',
      `[network]\nnetwork_backend="cni"\ncni_plugin_dirs=["${node.root}/bin"]`,
      `network_config_dir="${node.root}/net.d"\ndefault_network="weft"\n`,
    ].join('\n'),
  );
});
after(async () => {
  await lab[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

function podman(...args: readonly string[]): string {
  const env = {
    ...process.env,
    CONTAINERS_CONF: join(dir, 'containers.conf'),
    CONTAINERS_STORAGE_CONF: join(dir, 'storage.conf'),
  };
  const result = inNetns(netnsPath(node.netns), () =>
    spawnSync('podman', ['--tmpdir', join(dir, 'tmp'), ...args], { encoding: 'utf8', timeout: 30_000, env }),
  );
  assert.equal(result.status, 0, result.stderr);
  return result.stdout.trim();
}

test('podman runs a container with a static address, a MAC and a published port, and takes all away', { skip }, () => {
  const name = `wt-${process.pid}`;
  // Low limits, because some machines do not let them be raised, which podman would do.
  const limits = [
    '--ulimit',
    'nofile=1024:1024',
    '--ulimit',
    'nproc=1024:1024',
    '--security-opt',
    'seccomp=unconfined',
  ];
  const network = ['--network', 'weft', '--ip', '10.244.1.99', '--mac-address', '02:00:00:00:00:99', '-p', '8099:80'];
  const command = ['/bin/busybox', 'httpd', '-f', '-p', '80', '-h', '/www'];
  podman('run', '-d', '--name', name, ...network, ...limits, '--rootfs', join(dir, 'rootfs'), ...command);
  try {
    const found = JSON.parse(podman('inspect', name, '--format', '{{json .NetworkSettings.Networks.weft}}'));
    assert.deepEqual(
      [found.IPAddress, found.Gateway, found.MacAddress],
      ['10.244.1.99', '10.244.1.1', '02:00:00:00:00:99'],
    );
    for (const address of [`${node.addresses[0]}:8099`, '10.244.1.99'])
      assert.equal(
        runIn(far.netns, 'curl', '-sS', '-m', '3', '--retry', '5', '--retry-connrefused', `http://${address}/`),
        'from podman',
      );
  } finally {
    podman('rm', '-f', '-t', '0', name);
  }
  assert.doesNotMatch(runIn(node.netns, 'ip', 'link'), /veth/);
  assert.doesNotMatch(runIn(node.netns, 'nft', 'list', 'map', 'ip', 'weft-cni', 'any-ports'), /8099/);
});
