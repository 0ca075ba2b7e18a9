// The part of JSONPath that printer columns use: fields, indices, [*], and filters by equality (client-go, util/jsonpath).

type Step =
  | { readonly kind: 'field'; readonly name: string }
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'all' }
  | { readonly kind: 'filter'; readonly path: readonly Step[]; readonly equals: boolean; readonly value: string };

/** A path such as `.status.conditions[?(@.type=="Ready")].status`; undefined where it is not understood. */
export function parseJsonPath(text: string): readonly Step[] | undefined {
  const steps: Step[] = [];
  let rest = text.trim().replace(/^\{(.*)\}$/s, '$1');
  while (rest !== '') {
    const parsed = parseStep(rest);
    if (parsed === undefined) return undefined;
    if (parsed.step !== undefined) steps.push(parsed.step);
    rest = rest.slice(parsed.length);
  }
  return steps;
}

function parseStep(text: string): { step: Step | undefined; length: number } | undefined {
  const field = /^\.?((?:[A-Za-z0-9_$/-]|\\.)+)/.exec(text);
  if (field?.[1] !== undefined)
    return { step: { kind: 'field', name: field[1].replace(/\\(.)/g, '$1') }, length: field[0].length };
  const wildcard = /^(?:\.\*|\[\*\])/.exec(text);
  if (wildcard !== null) return { step: { kind: 'all' }, length: wildcard[0].length };
  const index = /^\[(-?\d+)\]/.exec(text);
  if (index?.[1] !== undefined) return { step: { kind: 'index', index: Number(index[1]) }, length: index[0].length };
  const quoted = /^\[(?:'([^']*)'|"([^"]*)")\]/.exec(text);
  if (quoted !== null) return { step: { kind: 'field', name: quoted[1] ?? quoted[2] ?? '' }, length: quoted[0].length };
  const filter = /^\[\?\(\s*@((?:\.[A-Za-z0-9_-]+)+)\s*(==|!=)\s*(?:"([^"]*)"|'([^']*)'|([^\s)]+))\s*\)\]/.exec(text);
  if (filter?.[1] !== undefined) {
    const path = parseJsonPath(filter[1]);
    if (path === undefined) return undefined;
    const value = filter[3] ?? filter[4] ?? filter[5] ?? '';
    return { step: { kind: 'filter', path, equals: filter[2] === '==', value }, length: filter[0].length };
  }
  return text.startsWith('.') || text.startsWith('$') ? { step: undefined, length: 1 } : undefined;
}

/** All values that the path leads to. */
export function findAll(value: unknown, steps: readonly Step[]): unknown[] {
  let found: unknown[] = [value];
  for (const step of steps) found = found.flatMap((one) => follow(one, step));
  return found.filter((one) => one !== undefined && one !== null);
}

function follow(value: unknown, step: Step): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  if (Array.isArray(value)) {
    if (step.kind === 'all') return value;
    if (step.kind === 'index') return [value.at(step.index)];
    if (step.kind === 'filter')
      return value.filter((item) =>
        findAll(item, step.path).some((one) => (String(one) === step.value) === step.equals),
      );
    return [];
  }
  if (step.kind === 'all') return Object.values(value);
  return step.kind === 'field' ? [Object.entries(value).find(([name]) => name === step.name)?.[1]] : [];
}
