// Holds the arrows between the rooms of src/: which folder may import which. See ARCHITECTURE.md.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

const base = ['net', 'k8s'] as const;
const network = ['cni', 'fabric', 'proxy', 'dns', 'loadbalancer'] as const;
const every = [
  'net',
  'k8s',
  'linux',
  'log',
  'pki',
  'apiserver',
  'controllers',
  'scheduler',
  'kubelet',
  'images',
  'cluster',
  ...network,
  'explain',
];

/** For each room: the rooms it may import, besides itself. A room that is not listed fails the check. */
const arrows: Record<string, readonly string[]> = {
  net: [],
  log: [],
  pki: [],
  k8s: ['net'],
  linux: ['net'],
  apiserver: [...base, 'log', 'pki'],
  controllers: [...base, 'log'],
  scheduler: [...base, 'log'],
  kubelet: [...base, 'log'],
  cni: [...base, 'linux', 'log'],
  fabric: [...base, 'linux', 'log'],
  proxy: [...base, 'linux', 'log'],
  loadbalancer: [...base, 'linux', 'log'],
  dns: [...base, 'linux', 'log'],
  images: ['log'],
  cluster: [...base, 'linux', 'log', 'pki', 'images'],
  explain: [...base, 'linux', ...network],
  processes: every,
  cli: [...every, 'processes'],
};

const root = normalize(join(import.meta.dirname, '..'));
const wrong: string[] = [];
for (const file of globSync('src/**/*.ts', { cwd: root })) {
  const room = file.split('/')[1] ?? '';
  const allowed = arrows[room];
  if (allowed === undefined) {
    wrong.push(`${file}: the room src/${room}/ has no arrows in scripts/check-imports.ts`);
    continue;
  }
  const text = readFileSync(join(root, file), 'utf8');
  for (const [, target] of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)) {
    const to = relative(join(root, 'src'), join(root, dirname(file), target ?? '')).split('/')[0] ?? '';
    if (to !== room && !allowed.includes(to))
      wrong.push(`${file}: imports src/${to}/, but src/${room}/ may import only ${allowed.join(', ') || 'itself'}`);
  }
}
for (const line of wrong) console.error(line);
if (wrong.length > 0) process.exit(1);
console.log('import arrows hold');
