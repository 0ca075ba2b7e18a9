// CustomResourceDefinitions: what the server fills into one, and the kinds that it makes servable.
import type {
  CustomResourceColumnDefinition,
  CustomResourceDefinition,
  CustomResourceDefinitionCondition,
  CustomResourceDefinitionVersion,
} from '../k8s/types.generated.ts';
import { timestamp } from './api.ts';
import { type Kind, once, type ScalePaths, type Subresource, shelves } from './kinds.ts';
import { type ApiObject, typed } from './object.ts';
import { invalid } from './schema/errors.ts';
import { crdSchema } from './schema/types.ts';
import type { Storage } from './storage.ts';
import type { Column } from './table/columns.ts';

/** Keeps a CRD until its objects are gone. */
export const cleanupFinalizer = 'customresourcecleanup.apiextensions.k8s.io';

/** Fills in the names that can be derived, and the status: names accepted, established, versions that may be stored. */
export function admitDefinition(storage: Storage, object: ApiObject, old: ApiObject | undefined, now: Date): void {
  const definition = typed<CustomResourceDefinition>(object);
  const { spec, metadata } = definition;
  if (spec?.names?.kind === undefined || !Array.isArray(spec.versions)) return;
  spec.names.singular ??= spec.names.kind.toLowerCase();
  spec.names.listKind ??= `${spec.names.kind}List`;
  spec.conversion ??= { strategy: 'None' };
  if (spec.conversion.strategy !== 'None')
    throw invalid({ group: 'apiextensions.k8s.io', kind: 'CustomResourceDefinition' }, metadata.name ?? '', [
      {
        path: 'spec.conversion.strategy',
        type: 'NotSupported',
        value: spec.conversion.strategy,
        supported: ['None'],
      },
    ]);
  if (old === undefined && !metadata.finalizers?.includes(cleanupFinalizer))
    metadata.finalizers = [...(metadata.finalizers ?? []), cleanupFinalizer];
  const before = old === undefined ? undefined : typed<CustomResourceDefinition>(old).status;
  const stored = spec.versions.find((version) => version.storage)?.name;
  const conflict = nameConflict(storage, definition);
  const conditions = [
    condition('NamesAccepted', conflict === undefined, conflict ?? ['NoConflicts', 'no conflicts found']),
    condition(
      'Established',
      conflict === undefined,
      conflict === undefined
        ? ['InitialNamesAccepted', 'the initial names have been accepted']
        : ['NotAccepted', 'not all names are accepted'],
    ),
  ].map((one) => keepTransition(one, before?.conditions, now));
  const others = (before?.conditions ?? []).filter(({ type }) => !conditions.some((one) => one.type === type));
  definition.status = {
    conditions: [...conditions, ...others],
    acceptedNames: conflict === undefined ? spec.names : (before?.acceptedNames ?? { kind: '', plural: '' }),
    storedVersions: [...new Set([...(before?.storedVersions ?? []), ...(stored === undefined ? [] : [stored])])],
  };
}

function condition(
  type: string,
  holds: boolean,
  [reason, message]: readonly [string, string],
): CustomResourceDefinitionCondition {
  return { type, status: holds ? 'True' : 'False', reason, message };
}

function keepTransition(
  condition: CustomResourceDefinitionCondition,
  before: readonly CustomResourceDefinitionCondition[] | undefined,
  now: Date,
): CustomResourceDefinitionCondition {
  const old = before?.find((one) => one.type === condition.type && one.status === condition.status);
  return { ...condition, lastTransitionTime: old?.lastTransitionTime ?? timestamp(now) };
}

/** Whether another CRD of the group has the kind's name already. */
function nameConflict(
  storage: Storage,
  { spec, metadata }: CustomResourceDefinition,
): readonly [string, string] | undefined {
  for (const object of storage.list(shelves.definitions)) {
    const other = typed<CustomResourceDefinition>(object);
    if (other.metadata.name === metadata.name || other.spec.group !== spec.group) continue;
    if (other.spec.names.kind === spec.names.kind) return ['KindConflict', `"${spec.names.kind}" is already in use`];
    if (other.spec.names.shortNames?.some((name) => spec.names.shortNames?.includes(name)))
      return ['ShortNamesConflict', 'a short name is already in use'];
  }
  return undefined;
}

const isEstablished = ({ status }: CustomResourceDefinition): boolean =>
  status?.conditions?.some(({ type, status: value }) => type === 'Established' && value === 'True') ?? false;

/** The kinds of an established CRD: one for each served version. */
export function kindsOf(definition: CustomResourceDefinition): Kind[] {
  if (!isEstablished(definition)) return [];
  return definition.spec.versions.filter((version) => version.served).map((version) => kindOf(definition, version));
}

function kindOf({ spec, metadata }: CustomResourceDefinition, version: CustomResourceDefinitionVersion): Kind {
  const { names, group } = spec;
  const openApi = version.schema?.openAPIV3Schema;
  const scale = version.subresources?.scale;
  const subresources: Subresource[] = [];
  if (version.subresources?.status !== undefined) subresources.push('status');
  if (scale !== undefined) subresources.push('scale');
  const path = (text: string): string[] => text.split('.').filter((field) => field !== '');
  const scalePaths: ScalePaths | undefined =
    scale === undefined
      ? undefined
      : {
          spec: path(scale.specReplicasPath),
          status: path(scale.statusReplicasPath),
          selector: scale.labelSelectorPath === undefined ? undefined : path(scale.labelSelectorPath),
        };
  return {
    group,
    version: version.name,
    kind: names.kind,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    namespaced: spec.scope === 'Namespaced',
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    subresources,
    storage: `${group}/${names.plural}`,
    definition: `${group.split('.').reverse().join('.')}.${version.name}.${names.kind}`,
    schema: once(() => crdSchema(openApi)),
    generation: true,
    custom: {
      definition: metadata.name ?? '',
      openApi,
      columns: (version.additionalPrinterColumns ?? []).map((one) => ({ column: columnOf(one), path: one.jsonPath })),
      scale: scalePaths,
    },
  };
}

const columnOf = ({ name, type, format, description, priority }: CustomResourceColumnDefinition): Column => ({
  name,
  type,
  format: format ?? '',
  description: description ?? '',
  priority: priority ?? 0,
});
