// Patches: RFC 6902 (JSON patch), RFC 7396 (merge patch) and Kubernetes' strategic merge patch.
import jsonPatch from 'fast-json-patch';
import { badRequest, unprocessable, unsupportedMediaType } from './errors.ts';
import { strategicMerge } from './strategic-merge.ts';
import { type Fields, isFields, type KindSchema } from './types.ts';

export type PatchType = 'json' | 'merge' | 'strategic';

/**
 * The object with the patch applied; the given object stays as it is. Throws 400 for a malformed patch, 415 for a
 * strategic merge patch of a custom resource, 422 for one that cannot be applied to this object.
 */
export function applyPatch(type: PatchType, object: Fields, patch: unknown, schema: KindSchema): Fields {
  switch (type) {
    case 'json':
      return applyJsonPatch(object, patch);
    case 'merge': {
      const merged = mergePatch(object, requireObject(patch));
      return requireObject(merged);
    }
    case 'strategic':
      if (schema.custom) {
        throw unsupportedMediaType(
          'the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml',
        );
      }
      return strategicMerge(object, requireObject(patch), schema.root);
  }
}

function requireObject(value: unknown): Fields {
  if (isFields(value)) return value;
  throw badRequest('error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}');
}

/** An upper bound, as upstream's, so that one request cannot keep the server busy. */
const maxOperations = 10_000;

function applyJsonPatch(object: Fields, patch: unknown): Fields {
  if (!Array.isArray(patch)) {
    throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  }
  if (patch.length > maxOperations) {
    throw unprocessable(`The allowed maximum operations in a JSON patch is ${maxOperations}, got ${patch.length}`);
  }
  let result: unknown;
  try {
    result = jsonPatch.applyPatch(structuredClone(object), patch, true, true).newDocument;
  } catch (error) {
    throw unprocessable(`the server rejected our request due to an error in our request: ${jsonPatchReason(error)}`);
  }
  return requireObject(result);
}

interface PatchFault {
  readonly name?: unknown;
  readonly operation?: { readonly op?: unknown; readonly path?: unknown };
  readonly index?: unknown;
}

function jsonPatchReason(error: unknown): string {
  const { name, operation, index }: PatchFault = isFields(error) || error instanceof Error ? error : {};
  const at = `operation ${String(index ?? 0)} (${String(operation?.op)} ${String(operation?.path)})`;
  if (name === 'TEST_OPERATION_FAILED') return `testing value ${String(operation?.path)} failed: test failed`;
  if (name === 'OPERATION_PATH_UNRESOLVABLE' || name === 'OPERATION_PATH_CANNOT_ADD')
    return `${at}: path does not exist`;
  const words = String(name ?? 'invalid')
    .replaceAll('_', ' ')
    .toLowerCase();
  return `${at}: ${words}`;
}

/** RFC 7396. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return structuredClone(patch);
  const result: Fields = isFields(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = mergePatch(result[name], value);
  }
  return result;
}
