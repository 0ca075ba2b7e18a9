// Builds the bundles: one file for each program, so that it starts without reading hundreds of modules.
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

const programs = {
  cli: 'src/cli/main.ts',
  supervisor: 'src/processes/supervisor.ts',
  'control-plane': 'src/processes/control-plane.ts',
  agent: 'src/processes/agent.ts',
  dns: 'src/processes/dns.ts',
  'dns-thread': 'src/dns/threads/answering-thread.ts',
};

/**
 * node:http by `require`: an import reads everything that it exports, and with WebSocket comes all of undici (fetch), in
 * each process 20 ms of its start and 2 MB that nobody needs.
 */
const httpByRequire: Plugin = {
  name: 'http-by-require',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:http$/ }, ({ path, namespace }) =>
      namespace === 'by-require' ? { path, external: true } : { path, namespace: 'by-require' },
    );
    onLoad({ filter: /.*/, namespace: 'by-require' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
    }));
  },
};

const common = {
  bundle: true,
  platform: 'node',
  target: 'node26',
  format: 'esm',
  outExtension: { '.js': '.mjs' },
  legalComments: 'none',
  logLevel: 'warning',
  absWorkingDir: root,
  // CommonJS packages in an ES module ask for `require`.
  banner: {
    js: "import { createRequire as weftRequire } from 'node:module';\nconst require = weftRequire(import.meta.url);",
  },
  define: { 'process.env.WEFT_BUNDLED': '"1"' },
} as const;

const started = performance.now();
await Promise.all(
  Object.entries(programs).map(([name, entry]) =>
    build({
      ...common,
      plugins: [httpByRequire],
      entryPoints: { [name]: entry },
      outdir: dist,
      external: ['node:*'],
    }),
  ),
);
copyFileSync(join(root, 'src/apiserver/generated/descriptions.json'), join(dist, 'descriptions.json'));
rmSync(join(dist, 'cache'), { recursive: true, force: true });
// The launcher compares the sources with this file.
writeFileSync(join(dist, 'built'), '');
console.log(`bundles built in ${Math.round(performance.now() - started)} ms`);
