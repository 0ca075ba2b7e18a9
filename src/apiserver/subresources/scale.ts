// The scale subresource: replicas of a workload or a custom resource as an autoscaling/v1 Scale.
import { formatLabelSelector } from '../../k8s/selectors.ts';
import type { LabelSelector } from '../../k8s/types.generated.ts';
import type { Api, Call } from '../api.ts';
import { checkObject, type Expected, readObject } from '../body.ts';
import type { Kind, ScalePaths } from '../kinds.ts';
import { type ApiObject, type Fields, fieldsOf, isFields, valueAt } from '../object.ts';
import { type WriteOptions, writeOptions } from '../options.ts';
import { find, present } from '../read.ts';
import { readBody } from '../respond.ts';
import { badRequest, invalid, unsupportedMediaType } from '../schema/errors.ts';
import { applyPatch } from '../schema/patch.ts';
import { builtinSchema } from '../schema/types.ts';
import { patchTypeOf, readPatch, updateObject } from '../write.ts';

const builtInPaths: ScalePaths = {
  spec: ['spec', 'replicas'],
  status: ['status', 'replicas'],
  selector: ['spec', 'selector'],
};

const pathsOf = (kind: Kind): ScalePaths => kind.custom?.scale ?? builtInPaths;

const expected = (): Expected => ({
  apiVersion: 'autoscaling/v1',
  kind: 'Scale',
  schema: builtinSchema('io.k8s.api.autoscaling.v1.Scale'),
});

function numberAt(object: ApiObject, path: readonly string[]): number {
  const value = valueAt(object, ...path);
  return typeof value === 'number' ? value : 0;
}

/** A built-in kind has a selector as an object, a custom one as text. */
function selectorOf(object: ApiObject, path: readonly string[] | undefined): string {
  const value = path === undefined ? undefined : valueAt(object, ...path);
  if (typeof value === 'string') return value;
  return isFields(value) ? formatLabelSelector(value as LabelSelector) : '';
}

function scaleOf(kind: Kind, object: ApiObject): ApiObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const paths = pathsOf(kind);
  const selector = selectorOf(object, paths.selector);
  const metadata: ApiObject['metadata'] = {};
  for (const [field, value] of Object.entries({ name, namespace, uid, resourceVersion, creationTimestamp }))
    if (value !== undefined) Object.assign(metadata, { [field]: value });
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata,
    spec: { replicas: numberAt(object, paths.spec) },
    status: { replicas: numberAt(object, paths.status), ...(selector === '' ? {} : { selector }) },
  };
}

export function getScale(api: Api, kind: Kind, call: Call): ApiObject {
  const { namespace, name } = call.info;
  return scaleOf(kind, present(kind, find(api, kind, namespace, name)));
}

function setAt(object: Fields, path: readonly string[], value: unknown): void {
  const [field, ...rest] = path;
  if (field === undefined) return;
  if (rest.length === 0) {
    object[field] = value;
    return;
  }
  const inner = fieldsOf(object[field]);
  object[field] = inner;
  setAt(inner, rest, value);
}

function write(
  api: Api,
  kind: Kind,
  call: Call,
  options: WriteOptions,
  wanted: (now: ApiObject) => ApiObject,
): ApiObject {
  const { namespace, name } = call.info;
  const change = (object: ApiObject): ApiObject => {
    const scale = wanted(scaleOf(kind, object));
    const replicas = scale.spec?.replicas ?? 0;
    if (typeof replicas !== 'number' || replicas < 0)
      throw invalid({ group: 'autoscaling', kind: 'Scale' }, name, [
        {
          path: 'spec.replicas',
          type: 'Invalid',
          value: replicas,
          detail: 'must be greater than or equal to 0',
        },
      ]);
    const { resourceVersion, uid } = scale.metadata;
    if (resourceVersion) object.metadata.resourceVersion = resourceVersion;
    if (uid) object.metadata.uid = uid;
    setAt(object, pathsOf(kind).spec, replicas);
    return object;
  };
  return scaleOf(kind, updateObject(api, kind, namespace, name, { ...options, subresource: 'scale', change }));
}

export async function updateScale(api: Api, kind: Kind, call: Call): Promise<ApiObject> {
  const options = writeOptions(call);
  const scale = readObject(expected(), call, await readBody(call.request), options);
  return write(api, kind, call, options, () => scale);
}

export async function patchScale(api: Api, kind: Kind, call: Call): Promise<ApiObject> {
  const type = patchTypeOf(call.request.headers['content-type']);
  if (type === 'apply')
    throw unsupportedMediaType('server-side apply is not offered for the scale subresource; patch the object itself');
  const options = writeOptions(call);
  const data = readPatch(await readBody(call.request));
  return write(api, kind, call, options, (now) => {
    const patched: unknown = applyPatch(type, now, data, expected().schema);
    if (!isFields(patched)) throw badRequest('the patched object is not an object');
    return checkObject(expected(), patched, call, options);
  });
}
