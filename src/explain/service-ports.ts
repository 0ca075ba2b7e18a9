// What is odd between the ports of a Service and those of its pods. Pure.
import type { ContainerPort, Pod, Service, ServicePort } from '../k8s/types.generated.ts';
import type { Finding } from './service-findings.ts';

/** `pods` are those that the Service selects and that have not ended. */
export function portFindings({ spec }: Service, pods: readonly Pod[]): Finding[] {
  if (pods.length === 0) return [];
  const declared = pods.flatMap(portsOf);
  return (spec.ports ?? []).flatMap((port) => {
    const { targetPort = port.port } = port;
    const finding =
      typeof targetPort === 'string' ? byName(port, targetPort, declared) : byNumber(port, targetPort, declared);
    if (finding !== undefined) return [finding];
    return spec.clusterIP === 'None' ? untranslated(port, targetPort, declared) : [];
  });
}

/** Those of containers and of sidecars, which have the names that a targetPort may use. */
function portsOf({ spec }: Pod): ContainerPort[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...sidecars].flatMap(({ ports }) => ports ?? []);
}

const protocolOf = ({ protocol = 'TCP' }: ContainerPort | ServicePort): string => protocol;

function byName(port: ServicePort, name: string, declared: readonly ContainerPort[]): Finding | undefined {
  // Upstream reads a name of digits as a number.
  if (/^\d+$/.test(name)) return undefined;
  const protocol = protocolOf(port);
  const called = declared.filter((each) => each.name === name);
  if (called.some((each) => protocolOf(each) === protocol)) return undefined;
  const [other] = called;
  const names = [
    ...new Set(declared.filter((each) => protocolOf(each) === protocol).flatMap((each) => each.name ?? [])),
  ];
  const there =
    other !== undefined
      ? `their port of that name is ${protocolOf(other)}, not ${protocol}`
      : names.length > 0
        ? `their ${protocol} ports are called ${names.join(', ')}`
        : `they name no ${protocol} port`;
  return {
    reason: 'TargetPortNotFound',
    text: `Port ${port.port} leads to the port '${name}', which no container of the pods has: ${there}.`,
  };
}

function byNumber(port: ServicePort, number: number, declared: readonly ContainerPort[]): Finding | undefined {
  const protocol = protocolOf(port);
  const numbers = [
    ...new Set(declared.filter((each) => protocolOf(each) === protocol).map((each) => each.containerPort)),
  ];
  if (numbers.length === 0 || numbers.includes(number)) return undefined;
  return {
    reason: 'TargetPortNotDeclared',
    text: `Port ${port.port} leads to ${number}/${protocol}, but the pods declare ${numbers.join(', ')}: perhaps nobody listens there.`,
  };
}

/** Without a cluster address nothing translates the port. */
function untranslated(port: ServicePort, target: number | string, declared: readonly ContainerPort[]): Finding[] {
  const number = typeof target === 'number' ? target : declared.find(({ name }) => name === target)?.containerPort;
  if (number === undefined || number === port.port) return [];
  return [
    {
      reason: 'HeadlessPort',
      text: `The Service is headless: its name leads to the pods themselves, so ask port ${number}; nothing leads there from port ${port.port}.`,
    },
  ];
}
