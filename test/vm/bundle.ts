// One file of JavaScript for each program that runs in a test machine: an emulated processor takes six seconds to read
// a hundred modules of TypeScript, and one for their bundle.
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { build, type Plugin } from 'esbuild';

const root = join(import.meta.dirname, '../..');

/** What a source finds by its own place, its bundle finds there too. */
const ownPlace: Plugin = {
  name: 'own-place',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.ts$/ }, async ({ path }) => ({
      loader: 'ts',
      contents: (await readFile(path, 'utf8')).replaceAll('import.meta.dirname', JSON.stringify(dirname(path))),
    })),
};

/** Bundles programs (by their paths in the repository) into a folder; returns the paths of the bundles, in order. */
export async function bundle(programs: readonly string[], folder: string): Promise<string[]> {
  const target = (program: string): string => basename(program, '.ts');
  await build({
    entryPoints: programs.map((program) => ({ in: join(root, program), out: target(program) })),
    outdir: folder,
    bundle: true,
    platform: 'node',
    target: 'node26',
    format: 'esm',
    outExtension: { '.js': '.mjs' },
    external: ['node:*', 'esbuild'],
    plugins: [ownPlace],
    logLevel: 'warning',
    banner: { js: "import { createRequire as ownRequire } from 'node:module';\nconst require = ownRequire('/');" },
  });
  return programs.map((program) => join(folder, `${target(program)}.mjs`));
}
