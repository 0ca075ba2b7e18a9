// CustomResourceDefinitions (apiextensions-apiserver pkg/apis/apiextensions/validation/validation.go).
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { structuralErrors } from '../structural.ts';
import { dns1035Label, dnsSubdomain } from './names.ts';
import { at, immutable, objects, type Report, text, texts } from './report.ts';

export function validateDefinition(report: Report, definition: Fields): void {
  const spec = at(definition, 'spec');
  const names = at(spec, 'names');
  const group = text(spec, 'group');
  const plural = text(names, 'plural');
  const name = text(at(definition, 'metadata'), 'name');
  if (name !== `${plural}.${group}`) {
    report.invalid('metadata.name', name, 'must be spec.names.plural+"."+spec.group');
  }
  if (group === '') report.required('spec.group');
  else {
    report.allInvalid('spec.group', group, dnsSubdomain(group));
    if (!group.includes('.')) report.invalid('spec.group', group, 'should be a domain with at least one dot');
  }
  report.oneOf('spec.scope', spec.scope, ['Cluster', 'Namespaced'], 'required');
  validateNames(report, names);
  validateVersions(report, spec);
  const strategy = text(at(spec, 'conversion'), 'strategy');
  if (strategy === 'Webhook')
    report.forbidden('spec.conversion.strategy', 'conversion webhooks are not served by this cluster; use None');
  else report.oneOf('spec.conversion.strategy', strategy, ['None', 'Webhook'], 'required');
  if (spec.preserveUnknownFields === true) {
    report.invalid(
      'spec.preserveUnknownFields',
      true,
      'cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead',
    );
  }
}

function validateNames(report: Report, names: Fields): void {
  for (const field of ['plural', 'singular', 'kind', 'listKind']) {
    const value = text(names, field);
    const path = `spec.names.${field}`;
    if (value === '') report.required(path);
    else report.allInvalid(path, value, dns1035Label(value.toLowerCase()));
  }
  for (const field of ['shortNames', 'categories']) {
    texts(names, field).forEach((value, index) => {
      report.allInvalid(`spec.names.${field}[${index}]`, value, dns1035Label(value));
    });
  }
  const { kind, listKind } = names;
  if (kind !== undefined && kind === listKind)
    report.invalid('spec.names.listKind', listKind, 'kind and listKind may not be the same');
}

function validateVersions(report: Report, spec: Fields): void {
  const versions = objects(spec, 'versions');
  if (versions.length === 0) report.required('spec.versions', 'must have at least one version');
  const seen = new Set<string>();
  versions.forEach((version, index) => {
    const place = `spec.versions[${index}]`;
    const name = text(version, 'name');
    report.allInvalid(`${place}.name`, name, dns1035Label(name));
    if (seen.has(name)) report.invalid('spec.versions', name, 'must not contain duplicate version names');
    seen.add(name);
    const schema = at(version, 'schema').openAPIV3Schema;
    if (isFields(schema)) report.errors.push(...structuralErrors(schema, `${place}.schema.openAPIV3Schema`));
    else report.required(`${place}.schema.openAPIV3Schema`, 'schemas are required');
    objects(version, 'additionalPrinterColumns').forEach((column, position) => {
      const path = `${place}.additionalPrinterColumns[${position}]`;
      if (text(column, 'name') === '') report.required(`${path}.name`);
      report.oneOf(`${path}.type`, column.type, ['boolean', 'date', 'integer', 'number', 'string'], 'required');
      if (text(column, 'jsonPath') === '') report.required(`${path}.JSONPath`);
    });
  });
  const stored = versions.filter((version) => version.storage === true).map((version) => text(version, 'name'));
  if (versions.length > 0 && stored.length !== 1) {
    report.invalid(
      'spec.versions',
      versions.map((version) => text(version, 'name')),
      'must have exactly one version marked as storage version',
    );
  }
}

export function validateDefinitionUpdate(report: Report, definition: Fields, old: Fields): void {
  const [spec, before] = [at(definition, 'spec'), at(old, 'spec')];
  for (const field of ['group', 'scope']) {
    if (spec[field] !== before[field]) report.invalid(`spec.${field}`, spec[field], immutable);
  }
  for (const field of ['kind', 'plural']) {
    const [now, then] = [at(spec, 'names')[field], at(before, 'names')[field]];
    if (now !== then) report.invalid(`spec.names.${field}`, now, immutable);
  }
  const served = new Set(objects(spec, 'versions').map((version) => text(version, 'name')));
  texts(at(old, 'status'), 'storedVersions').forEach((stored, index) => {
    if (!served.has(stored)) {
      report.invalid(
        `status.storedVersions[${index}]`,
        stored,
        'missing from spec.versions; ' +
          stored +
          ' was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in ' +
          stored +
          ' and removes ' +
          stored +
          ' from status.storedVersions',
      );
    }
  });
}
