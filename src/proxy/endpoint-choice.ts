// Decides how one of several endpoints is chosen, from the annotations of a Service. Pure.
import type { Endpoint, Service } from '../k8s/types.generated.ts';
import type { ServicePortModel } from './service-port.ts';

/** `random` (the default), or `client-address`: each client has its endpoint, whatever becomes of the others. */
const choiceAnnotation = 'weft.dev/endpoint-choice';
/**
 * Shares of new connections: `web-v1=9,web-v2=1`. A name is that of a pod, or of what its name begins with before a
 * dash (its Deployment, ReplicaSet, StatefulSet), or an endpoint's address; an endpoint that no name is for has 1. An
 * endpoint of weight 0 gets no new connections.
 */
const weightsAnnotation = 'weft.dev/endpoint-weights';
const largestWeight = 1000;

/** The weight of an endpoint. */
export type EndpointWeights = (endpoint: Endpoint) => number;

export function choiceOf({ metadata }: Service): ServicePortModel['choice'] {
  return metadata.annotations?.[choiceAnnotation] === 'client-address' ? 'client-address' : 'random';
}

/** The weights that the annotation gives; where it is wrong, all are 1. */
export function weightsOf(service: Service): EndpointWeights {
  const weights = parseWeights(service.metadata.annotations?.[weightsAnnotation] ?? '');
  if (weights === undefined || weights.size === 0) return () => 1;
  return ({ addresses, targetRef }) => {
    const names = [addresses[0] ?? '', ...(targetRef?.kind === 'Pod' ? namesOf(targetRef.name ?? '') : [])];
    for (const name of names) {
      const weight = weights.get(name);
      if (weight !== undefined) return weight;
    }
    return 1;
  };
}

/** What is wrong with the annotations of a Service, one line each. */
export function choiceProblems({ metadata }: Service): string[] {
  const { [choiceAnnotation]: choice = 'random', [weightsAnnotation]: weights = '' } = metadata.annotations ?? {};
  const problems: string[] = [];
  if (choice !== 'random' && choice !== 'client-address')
    problems.push(`annotation ${choiceAnnotation}: '${choice}' is neither random nor client-address; random is used`);
  if (parseWeights(weights) === undefined)
    problems.push(
      `annotation ${weightsAnnotation}: '${weights}' is not a list as web-v1=9,web-v2=1 with weights from 0 to ${largestWeight}; all endpoints weigh the same`,
    );
  return problems;
}

/** A pod's name, then what it begins with before each dash, the longest first. */
function namesOf(pod: string): string[] {
  const parts = pod.split('-');
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('-'));
}

function parseWeights(text: string): Map<string, number> | undefined {
  const weights = new Map<string, number>();
  for (const part of text.split(',').map((one) => one.trim())) {
    if (part === '') continue;
    const [, name, weight] = /^([A-Za-z0-9.:-]+)=(\d{1,4})$/.exec(part) ?? [];
    if (name === undefined || Number(weight) > largestWeight) return undefined;
    weights.set(name, Number(weight));
  }
  return weights;
}
