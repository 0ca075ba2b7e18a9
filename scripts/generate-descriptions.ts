// Generates src/apiserver/generated/descriptions.json: what each kind and field means, as `kubectl explain` prints it.
// The words are those of the Kubernetes API (The Kubernetes Authors, Apache License 2.0), as two packages carry them in
// comments: @kubernetes/client-node (the same minor version of Kubernetes, but nothing beside references to other
// types), and kubernetes-types for the rest.
// Usage: scripts/node scripts/generate-descriptions.ts NODE_MODULES   (a folder with both packages)
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const modules = process.argv[2];
if (modules === undefined) {
  console.error('usage: generate-descriptions.ts NODE_MODULES (with @kubernetes/client-node and kubernetes-types)');
  process.exit(2);
}
const definitions: Record<string, { properties?: object }> = JSON.parse(
  readFileSync('src/apiserver/generated/definitions.json', 'utf8'),
);

/** What is said of a definition (under the empty name) and of its fields. */
type Words = Record<string, string>;

/** The comments of a class or interface with the fields behind them. */
const comments =
  /\/\*\*\s*\*?\s*((?:(?!\*\/).)*?)\s*\*\/\s*(?:export (?:declare )?\w+ (\w+)|(?:readonly )?['"]?([\w$-]+)['"]?\??:)/gs;

function* wordsIn(file: string): Generator<{ type?: string; field?: string; text: string }> {
  for (const [, text = '', type, field] of readFileSync(file, 'utf8').matchAll(comments))
    yield {
      text: text.replace(/\\(['"])/g, '$1'),
      ...(type !== undefined && { type }),
      ...(field !== undefined && { field }),
    };
}

const upper = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** The model: with its group in front where several groups have a kind of that name. Names are mangled as in code. */
function fromClientNode(definition: string): Words {
  const [kind = '', version = '', group = ''] = definition.split('.').reverse();
  const file = [`${upper(group)}${upper(version)}${kind}`, `${upper(version)}${kind}`]
    .map((name) => join(modules ?? '', '@kubernetes/client-node/dist/gen/models', `${name}.d.ts`))
    .find((path) => existsSync(path));
  const words: Words = {};
  if (file === undefined) return words;
  for (const { field = '', text } of wordsIn(file))
    words[field.startsWith('x_') ? field.replaceAll('_', '-') : field.replace(/^_/, '')] ??= text;
  return words;
}

const byModule = new Map<string, Map<string, Words>>();
/** One module for each group and version, with an interface for each definition. */
function fromKubernetesTypes(definition: string): Words {
  const [kind = '', ...parents] = definition.split('.').reverse();
  const path = parents.reverse().slice(-2).join('/').replace('pkg/runtime', 'runtime').replace('util/intstr', 'util');
  const file = [join(modules ?? '', 'kubernetes-types', `${path}.d.ts`)].find((one) => existsSync(one));
  if (file === undefined) return {};
  let module = byModule.get(file);
  if (module === undefined) {
    module = new Map();
    byModule.set(file, module);
    let current: Words = {};
    for (const { type, field = '', text } of wordsIn(file)) {
      if (type !== undefined) {
        current = {};
        module.set(type, current);
      }
      current[field] ??= text;
    }
  }
  return module.get(kind) ?? {};
}

const descriptions: Record<string, Words> = {};
let missing = 0;
for (const [name, { properties = {} }] of Object.entries(definitions)) {
  const words = { ...fromKubernetesTypes(name), ...fromClientNode(name) };
  const wanted = ['', ...Object.keys(properties)];
  descriptions[name] = Object.fromEntries(wanted.flatMap((field) => (words[field] ? [[field, words[field]]] : [])));
  missing += wanted.length - Object.keys(descriptions[name]).length;
}
writeFileSync('src/apiserver/generated/descriptions.json', `${JSON.stringify(descriptions)}\n`);
console.log(`${Object.keys(descriptions).length} definitions; ${missing} definitions and fields have no words`);
