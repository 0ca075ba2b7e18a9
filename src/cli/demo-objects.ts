// The example application as `weft demo` deploys it: the files of examples/webapp, configured. Pure but for reading them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { projectRoot } from '../cluster/programs.ts';
import type { KubeObject, Resource } from '../k8s/object.ts';
import { configMaps, deployments, services } from '../k8s/resources.ts';
import type { ConfigMap, Container, Deployment } from '../k8s/types.generated.ts';

export const demoImages = ['weft.local/webapp:1', 'weft.local/mariadb:1', 'weft.local/tools:1'];
export const webService = { name: 'webapp1', namespace: 'default' };
const files = ['mysql.yml', 'sqlservice.yml', 'webapp.yml', 'webservice.yml'];

/** The table that the learner makes by hand; the database's image runs it at its first start. */
const database = 'ProductDetails';
const table: ConfigMap = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'webapp-sql1-init', namespace: 'default' },
  data: { 'products.sql': 'CREATE TABLE products (product_name VARCHAR(10), product_id VARCHAR(11));\n' },
};

/** What the learner does in the containers, as environment and files. */
const configured: Record<string, { env: { name: string; value: string }[]; init?: string }> = {
  webapp1: { env: [{ name: 'DB_SERVER', value: 'webapp-sql1' }] },
  'webapp-sql1': { env: [{ name: 'MYSQL_DATABASE', value: database }], init: 'webapp-sql1-init' },
};

const resources: Record<string, Resource<KubeObject>> = { Deployment: deployments, Service: services };

/** The objects of the example in the namespace `default`, with their resources. */
export function demoObjects(): { resource: Resource<KubeObject>; object: KubeObject }[] {
  const fromFiles = files.flatMap((file) => {
    const text = readFileSync(join(projectRoot(), 'examples', 'webapp', file), 'utf8');
    return parseAllDocuments(text).map((document) => {
      const object: KubeObject = document.toJS();
      const resource = resources[object.kind];
      if (resource === undefined) throw new Error(`examples/webapp/${file}: the kind ${object.kind} is not known here`);
      const namespaced = { ...object, metadata: { ...object.metadata, namespace: 'default' } };
      return { resource, object: isDeployment(namespaced) ? configure(namespaced) : namespaced };
    });
  });
  return [{ resource: configMaps, object: table }, ...fromFiles];
}

/** The Deployment with what makes its image configured. Pure. */
function configure(deployment: Deployment): Deployment {
  const more = configured[deployment.metadata.name ?? ''];
  const { template } = deployment.spec;
  if (more === undefined || template.spec === undefined) return deployment;
  const { env, init } = more;
  const folder = { name: 'init', mountPath: '/docker-entrypoint-initdb.d' };
  const add = (container: Container): Container => ({
    ...container,
    env: [...(container.env ?? []), ...env],
    volumeMounts: [...(container.volumeMounts ?? []), ...(init === undefined ? [] : [folder])],
  });
  const volumes = [
    ...(template.spec.volumes ?? []),
    ...(init === undefined ? [] : [{ name: folder.name, configMap: { name: init } }]),
  ];
  const spec = { ...template.spec, containers: template.spec.containers.map(add), volumes };
  return { ...deployment, spec: { ...deployment.spec, template: { ...template, spec } } };
}

function isDeployment(object: KubeObject): object is Deployment {
  return object.kind === 'Deployment';
}
