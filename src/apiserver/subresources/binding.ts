// pods/binding: the scheduler's decision (kubernetes, registry/core/pod/storage BindingREST).
import type { Binding, Pod } from '../../k8s/types.generated.ts';
import { type Api, type Call, timestamp } from '../api.ts';
import { readObject } from '../body.ts';
import type { Kind } from '../kinds.ts';
import { type ApiObject, typed } from '../object.ts';
import { writeOptions } from '../options.ts';
import { readBody } from '../respond.ts';
import { conflict, invalid } from '../schema/errors.ts';
import { builtinSchema } from '../schema/types.ts';
import { updateObject } from '../write.ts';
import { success } from './success.ts';

export async function bind(api: Api, kind: Kind, call: Call): Promise<unknown> {
  const { namespace, name } = call.info;
  const options = writeOptions(call);
  const schema = builtinSchema('io.k8s.api.core.v1.Binding');
  const body = readObject({ apiVersion: 'v1', kind: 'Binding', schema }, call, await readBody(call.request), options);
  const { target, metadata } = typed<Binding>(body);
  if (!target?.name) throw invalid({ group: '', kind: 'Binding' }, name, [{ path: 'target.name', type: 'Required' }]);
  if (target.kind !== undefined && target.kind !== '' && target.kind !== 'Node')
    throw invalid({ group: '', kind: 'Binding' }, name, [
      { path: 'target.kind', type: 'NotSupported', value: target.kind, supported: ['Node', '<empty>'] },
    ]);
  const node = target.name;
  const change = (object: ApiObject): ApiObject => {
    if (metadata?.uid) object.metadata.uid = metadata.uid;
    return bound(object, node, timestamp(api.now()), name);
  };
  updateObject(api, kind, namespace, name, { ...options, subresource: 'binding', change });
  return success(201);
}

function bound(object: ApiObject, node: string, now: string, name: string): ApiObject {
  const pod = typed<Pod>(object);
  const refuse = (why: string): never => {
    throw conflict({ group: '', resource: 'pods/binding' }, name, why);
  };
  if (pod.metadata.deletionTimestamp !== undefined)
    refuse(`pod ${name} is being deleted, cannot be assigned to a host`);
  if (pod.spec.nodeName) refuse(`pod ${name} is already assigned to node "${pod.spec.nodeName}"`);
  if (pod.spec.schedulingGates?.length) refuse(`pod ${name} has non-empty .spec.schedulingGates`);
  pod.spec.nodeName = node;
  const others = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
  pod.status = {
    ...pod.status,
    conditions: [...others, { type: 'PodScheduled', status: 'True', lastTransitionTime: now }],
  };
  return object;
}
