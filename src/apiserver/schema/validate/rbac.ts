// Roles and their bindings (upstream pkg/apis/rbac/validation/validation.go).
import type { Fields } from '../node.ts';
import { isFields } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { validateLabelSelector } from './meta.ts';
import { dnsSubdomain, pathSegment } from './names.ts';
import { at, objects, type Report, text, texts } from './report.ts';

const rbacGroup = 'rbac.authorization.k8s.io';

export function validateRole(report: Report, role: Fields): void {
  validateRules(report, role, true);
}

export function validateClusterRole(report: Report, role: Fields): void {
  validateRules(report, role, false);
  const aggregation = role.aggregationRule;
  if (!isFields(aggregation)) return;
  const selectors = objects(aggregation, 'clusterRoleSelectors');
  if (selectors.length === 0) {
    report.required(
      'aggregationRule.clusterRoleSelectors',
      'at least one clusterRoleSelector required if aggregationRule is non-nil',
    );
  }
  selectors.forEach((selector, index) => {
    validateLabelSelector(report, `aggregationRule.clusterRoleSelectors[${index}]`, selector);
  });
}

function validateRules(report: Report, role: Fields, namespaced: boolean): void {
  objects(role, 'rules').forEach((rule, index) => {
    const place = `rules[${index}]`;
    if (texts(rule, 'verbs').length === 0) report.required(`${place}.verbs`, 'verbs must contain at least one value');
    if (texts(rule, 'nonResourceURLs').length > 0) {
      if (namespaced)
        report.invalid(
          `${place}.nonResourceURLs`,
          rule.nonResourceURLs,
          'namespaced rules cannot apply to non-resource URLs',
        );
      if (['apiGroups', 'resources', 'resourceNames'].some((field) => texts(rule, field).length > 0)) {
        report.invalid(
          `${place}.nonResourceURLs`,
          rule.nonResourceURLs,
          'rules cannot apply to both regular resources and non-resource URLs',
        );
      }
      return;
    }
    if (texts(rule, 'apiGroups').length === 0) {
      report.required(`${place}.apiGroups`, 'resource rules must supply at least one api group');
    }
    if (texts(rule, 'resources').length === 0) {
      report.required(`${place}.resources`, 'resource rules must supply at least one resource');
    }
  });
}

export function validateRoleBinding(report: Report, binding: Fields): void {
  validateRoleRef(report, binding, ['ClusterRole', 'Role']);
  validateSubjects(report, binding);
}

export function validateClusterRoleBinding(report: Report, binding: Fields): void {
  validateRoleRef(report, binding, ['ClusterRole']);
  validateSubjects(report, binding);
}

function validateRoleRef(report: Report, binding: Fields, kinds: readonly string[]): void {
  const role = at(binding, 'roleRef');
  if (role.apiGroup !== rbacGroup) report.notSupported('roleRef.apiGroup', role.apiGroup ?? '', [rbacGroup]);
  if (!kinds.includes(text(role, 'kind'))) report.notSupported('roleRef.kind', role.kind ?? '', kinds);
  const name = text(role, 'name');
  if (name === '') report.required('roleRef.name');
  else report.allInvalid('roleRef.name', name, pathSegment(name));
}

function validateSubjects(report: Report, binding: Fields): void {
  objects(binding, 'subjects').forEach((subject, index) => {
    const place = `subjects[${index}]`;
    const name = text(subject, 'name');
    if (name === '') report.required(`${place}.name`);
    switch (subject.kind) {
      case 'ServiceAccount':
        if (name !== '') report.allInvalid(`${place}.name`, name, dnsSubdomain(name));
        if (text(subject, 'apiGroup') !== '') report.notSupported(`${place}.apiGroup`, subject.apiGroup, ['']);
        if (text(subject, 'namespace') === '') report.required(`${place}.namespace`);
        break;
      case 'User':
      case 'Group':
        if (subject.apiGroup !== rbacGroup) report.notSupported(`${place}.apiGroup`, subject.apiGroup, [rbacGroup]);
        break;
      default:
        report.notSupported(`${place}.kind`, subject.kind ?? '', ['ServiceAccount', 'User', 'Group']);
    }
  });
}

export function validateRoleRefUpdate(report: Report, binding: Fields, old: Fields): void {
  if (!sameValue(binding.roleRef, old.roleRef)) report.invalid('roleRef', binding.roleRef, 'cannot change roleRef');
}
