// An Ingress without a class gets the default one (kubernetes, plugin/pkg/admission/network/defaultingressclass).
import type { Ingress } from '../../k8s/types.generated.ts';
import { shelves } from '../kinds.ts';
import { type ApiObject, typed } from '../object.ts';
import type { Storage } from '../storage.ts';

const isDefault = ({ metadata }: ApiObject): boolean =>
  metadata.annotations?.['ingressclass.kubernetes.io/is-default-class'] === 'true';

/** Where several classes are marked as the default: the newest, then the first by name. */
export function admitIngress(object: ApiObject, storage: Storage): void {
  const ingress = typed<Ingress>(object);
  if (ingress.spec.ingressClassName !== undefined) return;
  if (ingress.metadata.annotations?.['kubernetes.io/ingress.class'] !== undefined) return;
  const [chosen] = storage
    .list(shelves.ingressClasses)
    .filter(isDefault)
    .sort((a, b) => (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''));
  if (chosen?.metadata.name !== undefined) ingress.spec.ingressClassName = chosen.metadata.name;
}
