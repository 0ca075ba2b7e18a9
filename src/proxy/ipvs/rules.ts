// Decides the iptables rules of the IPVS mode: a constant number of them, for everything else is in sets. Pure.
// Chains, comments and order are those of pkg/proxy/ipvs/proxier.go, but for what is said at a rule. Chains named WEFT-
// have what kube-proxy leaves out: who is not served, and visitors under the external policy Local.
import {
  type IptablesChain,
  type IptablesRule,
  type IptablesTable,
  type Match,
  ruleText,
  type Target,
} from '../../linux/iptables.ts';
import type { L4Protocol } from '../../linux/nft.ts';
import { asCidr, type Cidr, type Family, familyOf } from '../../net/address.ts';
import type { ProxyFacts } from '../writer.ts';
import { kernelSetName, type SetName } from './sets.ts';

/** The mark of packets that are to be masqueraded; kube-proxy's (bit 14). */
const masqueradeMark = 0x4000;

/** The chains of one table of iptables, and the rules of the system's chains that lead to them. */
export interface IptablesChains {
  readonly table: IptablesTable;
  readonly chains: readonly IptablesChain[];
  readonly jumps: readonly { readonly chain: string; readonly rule: string; readonly to: string }[];
}

export interface RuleOptions extends ProxyFacts {
  readonly family: Family;
  /** The ranges of all pods: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly clusterCidrs: readonly Cidr[];
}

const rule = (matches: readonly Match[], target: Target): IptablesRule => ({ matches, target });
const to = (chain: string): Target => ({ to: 'chain', chain });
const comment = (text: string): Match => ({ match: 'comment', text });
const from = (range: Cidr): Match => ({ match: 'source', range });
const notFrom = (range: Cidr): Match => ({ match: 'source', range, not: true });
const fromNode: Match = { match: 'source type', type: 'LOCAL' };
const marked = { match: 'mark', value: masqueradeMark, mask: masqueradeMark } as const;

/** All chains of a family. */
export function ipvsChains(options: RuleOptions): IptablesChains[] {
  const rules = { ...natRules(options), ...filterRules(options), ...mangleRules(options) };
  const chain = (name: keyof typeof rules): IptablesChain => ({ name, rules: rules[name].map(ruleText) });
  const jump = (system: string, name: keyof typeof rules, text: string) => ({
    chain: system,
    rule: ruleText(rule([comment(text)], to(name))),
    to: name,
  });
  const portals = 'kubernetes service portals';
  const access = 'kubernetes ipvs access filter';
  const firewall = 'kube-proxy firewall rules';
  const local = 'services without a local endpoint';
  return [
    {
      table: 'nat',
      chains: (
        [
          'KUBE-SERVICES',
          'KUBE-POSTROUTING',
          'KUBE-NODE-PORT',
          'KUBE-LOAD-BALANCER',
          'KUBE-MARK-MASQ',
          'WEFT-VISITORS',
        ] as const
      ).map(chain),
      jumps: [
        jump('OUTPUT', 'KUBE-SERVICES', portals),
        jump('PREROUTING', 'KUBE-SERVICES', portals),
        jump('POSTROUTING', 'KUBE-POSTROUTING', 'kubernetes postrouting rules'),
      ],
    },
    {
      table: 'filter',
      chains: [
        chain('KUBE-FORWARD'),
        { name: 'KUBE-NODE-PORT', rules: rules['health check'].map(ruleText) },
        chain('KUBE-PROXY-FIREWALL'),
        chain('KUBE-SOURCE-RANGES-FIREWALL'),
        chain('KUBE-IPVS-FILTER'),
      ],
      jumps: [
        jump('FORWARD', 'KUBE-FORWARD', 'kubernetes forwarding rules'),
        jump('INPUT', 'KUBE-NODE-PORT', 'kubernetes health check rules'),
        jump('INPUT', 'KUBE-PROXY-FIREWALL', firewall),
        jump('FORWARD', 'KUBE-PROXY-FIREWALL', firewall),
        jump('INPUT', 'KUBE-IPVS-FILTER', access),
      ],
    },
    {
      table: 'mangle',
      chains: [chain('WEFT-SERVICES'), chain('WEFT-OUTSIDE'), chain('KUBE-IPVS-OUT-FILTER'), chain('WEFT-SOURCES')],
      jumps: [
        jump('OUTPUT', 'KUBE-IPVS-OUT-FILTER', access),
        jump('OUTPUT', 'WEFT-SERVICES', local),
        jump('PREROUTING', 'WEFT-SERVICES', local),
      ],
    },
  ];
}

/** Matches by the set of the family. */
function setsOf(family: Family): (set: SetName, ...by: readonly ('src' | 'dst')[]) => Match {
  return (set, ...by) => ({ match: 'set', set: kernelSetName(set, family), by });
}

const ofFamily = (ranges: readonly Cidr[], family: Family): Cidr[] =>
  ranges.filter((range) => familyOf(range) === family);

function natRules({ family, clusterCidrs, podCidrs }: RuleOptions) {
  const set = setsOf(family);
  const masquerade = to('KUBE-MARK-MASQ');
  const accept: Target = { to: 'ACCEPT' };
  const clusterIp = set('KUBE-CLUSTER-IP', 'dst', 'dst');
  const balancer = set('KUBE-LOAD-BALANCER', 'dst', 'dst');
  const external = set('KUBE-EXTERNAL-IP', 'dst', 'dst');
  const externalLocal = set('KUBE-EXTERNAL-IP-LOCAL', 'dst', 'dst');
  const balancerLocal = set('KUBE-LOAD-BALANCER-LOCAL', 'dst', 'dst');
  const loopback = asCidr(family === 'IPv4' ? '127.0.0.0/8' : '::1/128');
  return {
    'KUBE-SERVICES': [
      rule([from(loopback)], { to: 'RETURN' }),
      rule([comment('Kubernetes service lb portal'), balancer], to('KUBE-LOAD-BALANCER')),
      ...clusterIpRules(options(family, clusterCidrs), set),
      rule([comment('Kubernetes service external ip + port for masquerade and filter purpose'), external], masquerade),
      rule([external], accept),
      rule(
        [comment('Kubernetes service external ip + port with externalTrafficPolicy=local'), externalLocal],
        to('WEFT-VISITORS'),
      ),
      rule([externalLocal], accept),
      rule([{ match: 'destination type', type: 'LOCAL' }], to('KUBE-NODE-PORT')),
      rule([clusterIp], accept),
      rule([balancer], accept),
    ],
    'KUBE-LOAD-BALANCER': [
      rule([balancerLocal], to('WEFT-VISITORS')),
      rule([comment('Kubernetes service load balancer ip + port with externalTrafficPolicy=local'), balancerLocal], {
        to: 'RETURN',
      }),
      rule([], masquerade),
    ],
    'KUBE-NODE-PORT': (['tcp', 'udp', 'sctp'] as const).flatMap((protocol) => nodePortRules(protocol, set)),
    'KUBE-MARK-MASQ': [rule([], { to: 'set mark bits', bits: masqueradeMark })],
    'KUBE-POSTROUTING': [
      rule(
        [
          comment('Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose'),
          set('KUBE-LOOP-BACK', 'dst', 'dst', 'src'),
        ],
        { to: 'MASQUERADE' },
      ),
      rule([{ ...marked, not: true }], { to: 'RETURN' }),
      // Cleared, so that a packet that passes again is not masqueraded again.
      rule([], { to: 'flip mark bits', bits: masqueradeMark }),
      rule([comment('kubernetes service traffic requiring SNAT')], { to: 'MASQUERADE' }),
    ],
    // kube-proxy masquerades nobody under the external policy Local, so that answers to the node's own processes, whose
    // address is the Service's, and to pods of other nodes would get lost.
    'WEFT-VISITORS': [
      rule([fromNode], masquerade),
      ...ofFamily(podCidrs, family).map((own) => rule([from(own)], { to: 'RETURN' })),
      ...ofFamily(clusterCidrs, family).map((pods) => rule([from(pods)], masquerade)),
    ],
  };
}

const options = (family: Family, clusterCidrs: readonly Cidr[]): readonly Cidr[] => ofFamily(clusterCidrs, family);

/** What comes from outside of the pods is masqueraded on its way to a cluster address. */
function clusterIpRules(pods: readonly Cidr[], set: ReturnType<typeof setsOf>): IptablesRule[] {
  const text = comment('Kubernetes service cluster ip + port for masquerade purpose');
  const masquerade = to('KUBE-MARK-MASQ');
  const [only, ...others] = pods;
  // Who is a pod is not known: at least the node's own processes, whose source is the Service's address.
  if (only === undefined) return [rule([text, set('KUBE-CLUSTER-IP', 'src', 'dst')], masquerade)];
  const clusterIp = set('KUBE-CLUSTER-IP', 'dst', 'dst');
  if (others.length === 0) return [rule([text, clusterIp, notFrom(only)], masquerade)];
  return [
    ...pods.map((range) => rule([clusterIp, from(range)], { to: 'ACCEPT' })),
    rule([text, clusterIp], masquerade),
  ];
}

function nodePortRules(protocol: L4Protocol, set: ReturnType<typeof setsOf>): IptablesRule[] {
  const isSctp = protocol === 'sctp';
  const name = isSctp ? 'SCTP-HASH' : protocol === 'tcp' ? 'TCP' : 'UDP';
  const by = isSctp ? (['dst', 'dst'] as const) : (['dst'] as const);
  const type = isSctp ? " with type 'hash ip:port'" : '';
  const upper = protocol.toUpperCase();
  const local: Match[] = [{ match: 'protocol', protocol }, set(`KUBE-NODE-PORT-LOCAL-${name}`, ...by)];
  const all = set(`KUBE-NODE-PORT-${name}`, ...by);
  return [
    rule(local, to('WEFT-VISITORS')),
    rule([comment(`Kubernetes nodeport ${upper} port with externalTrafficPolicy=local${type}`), ...local], {
      to: 'RETURN',
    }),
    rule(
      [
        comment(`Kubernetes nodeport ${upper} port for masquerade purpose${type}`),
        { match: 'protocol', protocol },
        all,
      ],
      to('KUBE-MARK-MASQ'),
    ),
  ];
}

function filterRules({ family }: RuleOptions) {
  const set = setsOf(family);
  const back: Target = { to: 'RETURN' };
  const health = set('KUBE-HEALTH-CHECK-NODE-PORT', 'dst');
  return {
    'KUBE-FORWARD': [
      rule([comment('kubernetes forwarding rules'), marked], { to: 'ACCEPT' }),
      rule([comment('kubernetes forwarding conntrack rule'), { match: 'state', states: ['RELATED', 'ESTABLISHED'] }], {
        to: 'ACCEPT',
      }),
    ],
    'health check': [rule([comment('Kubernetes health check node port'), health], { to: 'ACCEPT' })],
    'KUBE-PROXY-FIREWALL': [
      rule(
        [
          comment('Kubernetes service load balancer ip + port for load balancer with sourceRange'),
          set('KUBE-LOAD-BALANCER-FW', 'dst', 'dst'),
        ],
        to('KUBE-SOURCE-RANGES-FIREWALL'),
      ),
    ],
    'KUBE-SOURCE-RANGES-FIREWALL': sourceRules(set),
    // The node's own ports are not to be reached under the addresses of Services, all of which are its own in this mode.
    'KUBE-IPVS-FILTER': [
      ...(['KUBE-LOAD-BALANCER', 'KUBE-CLUSTER-IP', 'KUBE-EXTERNAL-IP', 'KUBE-EXTERNAL-IP-LOCAL'] as const).map(
        (name) => rule([set(name, 'dst', 'dst')], back),
      ),
      rule([health], back),
      rule([{ match: 'state', states: ['NEW'] }, set('KUBE-IPVS-IPS', 'dst')], { to: 'REJECT' }),
    ],
  };
}

function sourceRules(set: ReturnType<typeof setsOf>): IptablesRule[] {
  const purpose = 'for packet filter purpose';
  return [
    rule(
      [
        comment(`Kubernetes service load balancer ip + port + source cidr ${purpose}`),
        set('KUBE-LOAD-BALANCER-SOURCE-CIDR', 'dst', 'dst', 'src'),
      ],
      { to: 'RETURN' },
    ),
    rule(
      [
        comment(`Kubernetes service load balancer ip + port + source IP ${purpose}`),
        set('KUBE-LOAD-BALANCER-SOURCE-IP', 'dst', 'dst', 'src'),
      ],
      { to: 'RETURN' },
    ),
    rule([], { to: 'DROP' }),
  ];
}

/** Of the table mangle, for its chains come before IPVS also for what the node's own processes send. */
function mangleRules({ family, clusterCidrs, serviceCidrs }: RuleOptions) {
  const set = setsOf(family);
  const drop: Target = { to: 'DROP' };
  const back: Target = { to: 'RETURN' };
  return {
    'WEFT-SERVICES': [
      rule([set('WEFT-NO-LOCAL', 'dst', 'dst')], drop),
      rule([set('WEFT-NO-LOCAL-OUTSIDE', 'dst', 'dst')], to('WEFT-OUTSIDE')),
      // Nobody has the address: beyond this node it would go round between routers, or to someone who is not meant.
      // (Another link may have a Service's address, as that of the node's DNS does; it is in no set then.)
      ...ofFamily(serviceCidrs, family).map((range) =>
        rule(
          [
            { match: 'destination', range },
            { match: 'set', set: kernelSetName('KUBE-IPVS-IPS', family), by: ['dst'], not: true },
            { match: 'destination type', type: 'LOCAL', not: true },
          ],
          drop,
        ),
      ),
    ],
    'WEFT-OUTSIDE': [
      rule([fromNode], back),
      ...ofFamily(clusterCidrs, family).map((pods) => rule([from(pods)], back)),
      rule([], drop),
    ],
    // kube-proxy has this chain in the table filter, with a rule for each address; there IPVS has translated already.
    'KUBE-IPVS-OUT-FILTER': [rule([set('KUBE-LOAD-BALANCER-FW', 'dst', 'dst')], to('WEFT-SOURCES'))],
    'WEFT-SOURCES': sourceRules(set),
  };
}
