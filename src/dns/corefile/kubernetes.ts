// Reads the plugin kubernetes of a Corefile. Pure.
import { parseLabelSelector } from '../../k8s/selectors.ts';
import type { Name } from '../records.ts';
import type { Directive, OptionLine } from './blocks.ts';
import type { Fallthrough, KubernetesOptions } from './config.ts';
import { CorefileError, type Problem } from './tokens.ts';
import { expectArguments, readWhole, readWord } from './values.ts';
import { readZones } from './zones.ts';

const defaultTtl = 5;

/** Options about the way to the API: this server has its own. */
const connectionOptions = new Set([
  'endpoint',
  'tls',
  'kubeconfig',
  'resyncperiod',
  'apiserver_qps',
  'apiserver_burst',
  'apiserver_max_inflight',
  'startup_timeout',
  'upstream',
]);

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export const isReverseZone = (zone: Name): boolean => /(^|\.)(in-addr|ip6)\.arpa$/.test(zone);

/** The options of `kubernetes`; without zones of its own it has those of the server block. */
export function readKubernetes(
  directive: Directive,
  blockZones: readonly Name[],
  warnings: Problem[],
): KubernetesOptions {
  const zones = directive.args.length > 0 ? readZones(directive.args, directive.line) : [...blockZones];
  if (zones.every(isReverseZone))
    throw new CorefileError(directive.line, 'kubernetes needs the zone of the cluster, such as cluster.local');
  const found: Mutable<KubernetesOptions> = {
    line: directive.line,
    zones: [...zones.filter((zone) => !isReverseZone(zone)), ...zones.filter(isReverseZone)],
    pods: 'disabled',
    ttl: defaultTtl,
    endpoints: true,
    endpointPodNames: false,
    ignoreEmptyServices: false,
  };
  for (const option of directive.options) {
    if (connectionOptions.has(option.name))
      warnings.push({
        line: option.line,
        text: `kubernetes: ${option.name} has no effect: Weft's DNS has its own way to the API server`,
      });
    else readOption(option, found);
  }
  return found;
}

function readOption(option: OptionLine, found: Mutable<KubernetesOptions>): void {
  switch (option.name) {
    case 'pods':
      expectArguments(option, 1);
      found.pods = readWord(option, option.args[0], ['disabled', 'insecure', 'verified']);
      break;
    case 'ttl':
      expectArguments(option, 1);
      found.ttl = readWhole(option, option.args[0] ?? '', 0, 3600);
      break;
    case 'noendpoints':
      expectArguments(option, 0);
      found.endpoints = false;
      break;
    case 'endpoint_pod_names':
      expectArguments(option, 0);
      found.endpointPodNames = true;
      break;
    case 'namespaces':
      expectArguments(option, 1, Number.POSITIVE_INFINITY);
      found.namespaces = option.args;
      break;
    case 'namespace_labels':
      found.namespaceLabels = readSelector(option);
      break;
    case 'labels':
      found.labels = readSelector(option);
      break;
    case 'ignore':
      // The documentation writes it with an underscore, older versions without.
      expectArguments(option, 1);
      readWord(option, option.args[0], ['empty_service', 'emptyservice']);
      found.ignoreEmptyServices = true;
      break;
    case 'fallthrough':
      found.fallthrough = readFallthrough(option);
      break;
    default:
      throw new CorefileError(option.line, `kubernetes: the option ${option.name} is not supported`);
  }
  if (found.namespaces !== undefined && found.namespaceLabels !== undefined)
    throw new CorefileError(option.line, 'kubernetes: namespaces and namespace_labels exclude each other');
}

/** The zones of `fallthrough`; all of them where it names none. */
export function readFallthrough(option: OptionLine): Fallthrough {
  return option.args.length === 0 ? [''] : readZones(option.args, option.line);
}

function readSelector(option: OptionLine): string {
  expectArguments(option, 1, Number.POSITIVE_INFINITY);
  const text = option.args.join(' ');
  try {
    parseLabelSelector(text);
  } catch (error) {
    throw new CorefileError(option.line, `${option.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return text;
}
