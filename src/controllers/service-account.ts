// In every namespace: the `default` ServiceAccount and the ConfigMap kube-root-ca.crt.
import { type Client, isAlreadyExists } from '../k8s/client.ts';
import { type KubeObject, keyOf, type Resource } from '../k8s/object.ts';
import { configMaps, namespaces, serviceAccounts } from '../k8s/resources.ts';
import type { ControllerContext } from './context.ts';
import { type Controller, runController } from './controller.ts';

const rootCaName = 'kube-root-ca.crt';

/** `rootCa` is the PEM of the authority by which pods trust the API server. */
export function runServiceAccounts(context: ControllerContext, rootCa: string): Controller {
  const cache = context.cache(namespaces);
  const { client } = context;
  const account = client.cache(serviceAccounts, { fieldSelector: 'metadata.name=default' });
  const bundle = client.cache(configMaps, { fieldSelector: `metadata.name=${rootCaName}` });
  const running = runController(context, {
    name: 'service-account',
    needs: [cache, account, bundle],
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type !== 'deleted') queue.add(keyOf(object));
      });
      account.subscribe(({ type, object }) => {
        if (type === 'deleted') queue.add(object.metadata.namespace ?? '');
      });
      bundle.subscribe(({ type, object }) => {
        if (type !== 'added') queue.add(object.metadata.namespace ?? '');
      });
    },
    async reconcile(key) {
      const namespace = key.name;
      if (cache.get(key) === undefined || cache.get(key)?.metadata.deletionTimestamp !== undefined) return;
      const found = bundle.get({ namespace, name: rootCaName });
      await Promise.all([
        account.get({ namespace, name: 'default' }) === undefined &&
          createIfAbsent(client, serviceAccounts, {
            apiVersion: 'v1',
            kind: 'ServiceAccount',
            metadata: { name: 'default', namespace },
          }),
        found === undefined
          ? createIfAbsent(client, configMaps, {
              apiVersion: 'v1',
              kind: 'ConfigMap',
              metadata: {
                name: rootCaName,
                namespace,
                annotations: {
                  'kubernetes.io/description':
                    'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.',
                },
              },
              data: { 'ca.crt': rootCa },
            })
          : found.data?.['ca.crt'] !== rootCa && client.update(configMaps, { ...found, data: { 'ca.crt': rootCa } }),
      ]);
    },
  });
  return {
    async stop() {
      account.stop();
      bundle.stop();
      await running.stop();
    },
  };
}

async function createIfAbsent<T extends KubeObject>(client: Client, resource: Resource<T>, object: T): Promise<void> {
  try {
    await client.create(resource, object);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}
