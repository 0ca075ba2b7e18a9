// What the documents say can be done: every command of weft in them is one, every manifest is taken by the API server,
// every link leads somewhere.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Command, CommanderError } from 'commander';
import { parseAllDocuments } from 'yaml';
import { UsageError } from '../../src/cli/output.ts';
import { weftProgram } from '../../src/cli/program.ts';
import { checkFabricKind } from '../../src/cluster/fabric-settings.ts';
import { decideProxySettings } from '../../src/cluster/proxy-settings.ts';
import { decideSettings } from '../../src/cluster/settings.ts';
import { readBgpSettings } from '../../src/fabric/bgp/settings.ts';
import { type Lab, startLab } from '../apiserver/lab.ts';

const root = join(import.meta.dirname, '../..');
const documents = ['README.md', 'ARCHITECTURE.md', ...globSync('{docs,examples,deploy}/**/*.md', { cwd: root })];
const textOf = (file: string): string => readFileSync(join(root, file), 'utf8');

interface Block {
  readonly language: string;
  readonly text: string;
}

const blocksOf = (markdown: string): Block[] =>
  [...markdown.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language = '', text = '']) => ({ language, text }));

/** The commands of weft in a document: lines of its blocks, without what explains them, and `./weft …` in its text. */
function commandsOf(markdown: string): string[] {
  const inBlocks = blocksOf(markdown)
    .filter(({ language }) => language === '' || language === 'sh')
    .flatMap(({ text }) => text.split('\n'))
    .flatMap((line) => line.match(/\.\/weft .*?(?= {2,}| {2}# | \| |$|\)|\.\/weft)/g) ?? []);
  const plain = markdown.replaceAll(/^```.*?^```$/gms, '');
  const inText = [...plain.matchAll(/`(\.\/weft [^`]+)`/g)].map(([, command = '']) => command);
  return [...new Set([...inBlocks, ...inText].map((command) => command.trim()))];
}

/** Words as a shell makes them of what is in the documents: quotes hold words together. */
const wordsOf = (command: string): string[] =>
  (command.match(/'[^']*'|"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll(/^['"]|['"]$/g, ''));

/** The options that a command was parsed to; nothing is done. */
async function parsed(
  words: readonly string[],
): Promise<{ readonly command: string; readonly args: readonly string[]; readonly options: object }> {
  let found: { command: string; args: readonly string[]; options: object } | undefined;
  const program = weftProgram();
  const note = (command: Command): void => {
    command.configureOutput({ writeOut: () => {}, writeErr: () => {} });
    command.action(() => {
      found = { command: command.name(), args: command.args, options: command.opts() };
    });
    command.commands.forEach(note);
  };
  program.commands.forEach(note);
  try {
    await program.parseAsync(['node', ...words]);
  } catch (error) {
    // The text may name a command without all that it needs.
    const isMention = error instanceof UsageError && /^(missing required|required option)/.test(error.message);
    if (isMention || (error instanceof CommanderError && error.exitCode === 0))
      return { command: 'help', args: [], options: {} };
    throw error;
  }
  return found ?? assert.fail(`${words.join(' ')} does nothing`);
}

describe('every command of weft in the documents is one, with options and values that are taken', () => {
  for (const file of documents)
    test(file, async () => {
      for (const command of commandsOf(textOf(file))) {
        const words = wordsOf(
          command
            .replaceAll(/[…[\]]/g, '')
            .replace('-c N', '-c 1')
            .replace('COMMAND ', ''),
        );
        const {
          command: name,
          args,
          options,
        } = await parsed(words).catch((error: unknown) =>
          assert.fail(`${command}: ${error instanceof Error ? error.message : String(error)}`),
        );
        const isTemplate = words.some((word) => /^[A-Z]+$/.test(word));
        if (isTemplate) continue;
        assert.doesNotThrow(() => {
          if (name === 'up') decideSettings(options);
          if (name === 'set') checkFabricKind(args[0], command);
          if (name === 'mode') decideProxySettings({ ...options, proxyMode: args[0] });
        }, command);
      }
    });

  test('the table of README has every command, and every option that it names is there', () => {
    const readme = textOf('README.md');
    const rows = readme.split('\n').filter((line) => line.startsWith('| `./weft '));
    const named = new Set(rows.flatMap((row) => [...row.matchAll(/`\.\/weft (\w+)/g)].map(([, name]) => name)));
    const { commands } = weftProgram();
    assert.deepEqual(
      commands.map((command) => command.name()).filter((name) => !named.has(name) && name !== 'demo'),
      [],
    );
    for (const row of rows) {
      const [, name] = /`\.\/weft (\w+)/.exec(row) ?? [];
      const command = commands.find((one) => one.name() === name);
      const known = [command, ...(command?.commands ?? [])].flatMap(
        (one) => one?.options.map(({ long }) => long) ?? [],
      );
      for (const [, option = ''] of row.matchAll(/`[^`]*?(--[a-z-]+)/g))
        assert.ok(known.includes(option), `${name} ${option}`);
    }
  });
});

interface Manifest {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly data?: Readonly<Record<string, string>>;
}

function isManifest(value: unknown): value is Manifest {
  return typeof value === 'object' && value !== null && 'kind' in value && 'apiVersion' in value && 'metadata' in value;
}

const manifestsOf = (yaml: string): Manifest[] =>
  parseAllDocuments(yaml).flatMap((document) => {
    const object: unknown = document.toJS();
    return isManifest(object) ? [object] : [];
  });

describe('every manifest in the documents, the examples and deploy/ is taken by the API server', () => {
  let lab: Lab;
  const paths = new Map<string, { readonly path: string; readonly namespaced: boolean }>();

  before(async () => {
    lab = await startLab();
    for (const manifest of manifestsOf(textOf('deploy/load-balancer.yml')))
      if (['CustomResourceDefinition', 'Namespace'].includes(manifest.kind)) {
        const answer = await post(manifest, '');
        assert.equal(answer.code, 201, answer.text.slice(0, 300));
      }
  });
  after(() => lab.stop());

  /** Where objects of the kind are, as the discovery says. */
  async function placeOf({ apiVersion, kind }: Manifest): Promise<{ path: string; namespaced: boolean }> {
    const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const known = paths.get(`${apiVersion} ${kind}`);
    if (known !== undefined) return known;
    const { body } = await lab.send('GET', group);
    const resources: unknown = body.resources;
    assert.ok(Array.isArray(resources), `${apiVersion} is not served`);
    const found = resources.find((one) => one.kind === kind && !one.name.includes('/')) ?? assert.fail(`no ${kind}`);
    const place = { path: `${group}/${found.name}`, namespaced: found.namespaced, group };
    paths.set(`${apiVersion} ${kind}`, place);
    return place;
  }

  async function post(manifest: Manifest, query: string): ReturnType<Lab['send']> {
    const { path, namespaced } = await placeOf(manifest);
    const { namespace = 'default' } = manifest.metadata;
    const full = namespaced ? path.replace(/\/([^/]+)$/, `/namespaces/${namespace}/$1`) : path;
    return lab.send('POST', `${full}${query}`, { body: manifest });
  }

  const sources = [
    ...documents.map((file) => ({
      file,
      manifests: blocksOf(textOf(file))
        .filter(({ language }) => language === 'yaml')
        .flatMap(({ text }) => manifestsOf(text)),
    })),
    ...globSync('{examples,deploy}/**/*.{yml,yaml}', { cwd: root }).map((file) => ({
      file,
      manifests: manifestsOf(textOf(file)),
    })),
  ].filter(({ manifests }) => manifests.length > 0);

  for (const { file, manifests } of sources)
    test(file, async () => {
      for (const manifest of manifests) {
        const { code, text } = await post(manifest, '?dryRun=All&fieldValidation=Strict');
        // What was made above, or is there in every cluster, is there already.
        assert.ok(
          code === 201 || code === 409,
          `${manifest.kind} ${manifest.metadata.name}: ${code} ${text.slice(0, 500)}`,
        );
        const bgp = manifest.data?.['bgp.yaml'];
        if (bgp !== undefined) for (const document of parseAllDocuments(bgp)) readBgpSettings(document.toJS());
      }
    });
});

test('every link of the documents to a file, and to a heading of it, leads somewhere', () => {
  const anchorOf = (heading: string): string =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .trim()
      .replaceAll(' ', '-');
  for (const file of documents)
    for (const [, target = ''] of textOf(file).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path = '', anchor] = target.split('#');
      const to = path === '' ? file : relative(root, normalize(join(root, dirname(file), path)));
      assert.ok(existsSync(join(root, to)), `${file}: ${target}`);
      if (anchor === undefined) continue;
      const headings = [...textOf(to).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading));
      assert.ok(headings.includes(anchor), `${file}: ${target}; there are ${headings.join(', ')}`);
    }
});
