// What of a whole cluster needs a kernel that few machines have: the proxy mode ipvs, and encryption between nodes.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pauseImage } from '../../src/cluster/containerd-config.ts';
import { dnsImage } from '../../src/cluster/dns-addon.ts';
import { ensureImage } from '../../src/images/build.ts';
import { ImageStore } from '../../src/images/store.ts';
import { passesInside } from './inside.ts';
import { whyNoVm } from './vm.ts';

const skip = await whyNoVm();

test('a cluster in the mode ipvs, encrypted between its nodes: see cluster.inside.ts', { skip }, async () => {
  // What the launcher and the cluster would build in the machine, they build faster here.
  execFileSync(join(import.meta.dirname, '../../weft'), ['--help']);
  const cache = mkdtempSync('/tmp/weft-vm-cache-');
  try {
    const store = new ImageStore(join(cache, 'images'));
    for (const image of [pauseImage, dnsImage, 'weft.local/busybox:1']) await ensureImage(image, store);
    await passesInside('test/vm/cluster.inside.ts', {
      modules: ['br_netfilter', 'wireguard'],
      environment: { WEFT_CACHE: cache },
      memoryMegabytes: 2048,
      timeoutSeconds: 600,
    });
  } finally {
    rmSync(cache, { recursive: true });
  }
});
