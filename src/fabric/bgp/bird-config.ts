// A node's BGP plan as the configuration of BIRD 2. Pure: every value in the text is an address, a range, a number, a
// checked name or a checked password.
import type { NodeBfd } from '../../k8s/load-balancer.ts';
import { type Cidr, type Family, familyOf } from '../../net/address.ts';
import type { BgpPlan, BgpSession } from './decide.ts';
import { isPassword } from './names.ts';

export interface BirdFiles {
  /** An absolute path of letters, digits and `/-._` alone. */
  readonly logFile: string;
}

/** How often BIRD compares the kernel's routes with its own, in s: nothing else tells it that one was deleted. */
const scanSeconds = 2;
/** Of the routes in the kernel: those of other nodes, as BIRD has it by default; the own range, behind all of others. */
const metric = { learned: 32, ownRange: 65_535 };
const largestLog = 1_048_576;

/** The whole configuration. The same plan gives the same text: only a different text is worth a reconfiguration. */
export function birdConfig(plan: BgpPlan, files: BirdFiles): string {
  if (!/^\/[A-Za-z0-9/._-]+$/.test(files.logFile)) throw new RangeError(`the path ${files.logFile} cannot be written`);
  const families = (['IPv4', 'IPv6'] as const).filter((family) =>
    [...plan.ownRanges, ...plan.podRanges, ...plan.balancerRanges].some((range) => familyOf(range) === family),
  );
  return [
    '# Written by the node agent. What is changed here by hand is overwritten.',
    `log "${files.logFile}" ${largestLog} "${files.logFile}.1" { info, warning, error, fatal, bug, auth };`,
    `router id ${plan.routerId};`,
    'timeformat protocol "%Y-%m-%dT%H:%M:%S%z";',
    // After a crash: how long the routes of before stay while the neighbours come back.
    `graceful restart wait ${Math.max(plan.holdTime * 2, 15)};`,
    'protocol device { scan time 10; }',
    ...(plan.sessions.some(({ bfd }) => bfd !== undefined) ? ['protocol bfd liveness {}'] : []),
    ...families.flatMap((family) => familyProtocols(plan, family)),
    ...plan.sessions.flatMap((session) => sessionProtocol(plan, session)),
    '',
  ].join('\n');
}

const digit = (family: Family): string => (family === 'IPv4' ? '4' : '6');
const channel = (family: Family): string => (family === 'IPv4' ? 'ipv4' : 'ipv6');
const ofFamily = (ranges: readonly Cidr[], family: Family): Cidr[] =>
  ranges.filter((range) => familyOf(range) === family);

/** A set of prefixes with all that lies within them; undefined where there is none, for a set is never empty. */
function within(ranges: readonly Cidr[]): string | undefined {
  return ranges.length === 0 ? undefined : `net ~ [ ${ranges.map((range) => `${range}+`).join(', ')} ]`;
}

function exactly(ranges: readonly Cidr[]): string | undefined {
  return ranges.length === 0 ? undefined : `net ~ [ ${ranges.join(', ')} ]`;
}

const not = (condition: string | undefined): string | undefined => condition && `!(${condition})`;
const all = (...conditions: (string | undefined)[]): string =>
  conditions.filter((one) => one !== undefined).join(' && ') || 'true';

function familyProtocols(plan: BgpPlan, family: Family): string[] {
  const pods = not(within(ofFamily(plan.podRanges, family)));
  const number = digit(family);
  return [
    // The node's subnets and its other routes tell BIRD how to reach a next hop. Where pods are, BGP alone says.
    `protocol direct subnets${number} { ${channel(family)} { import where ${all(pods)}; }; }`,
    `protocol kernel kernel${number} {`,
    `  scan time ${scanSeconds};`,
    '  graceful restart on;',
    '  merge paths on;',
    '  learn;',
    // The filter says it for each route.
    '  metric 0;',
    `  ${channel(family)} {`,
    `    import where ${all(pods)};`,
    // The own range, for the time in which there is no bridge: packets to nobody are then refused, and do not follow a
    // default route. It must stand behind the bridge's route, which has the metric 256 in IPv6.
    `    export filter { if proto = "lb${number}" then reject; if source = RTS_STATIC then krt_metric = ${metric.ownRange}; else krt_metric = ${metric.learned}; if source ~ [ RTS_STATIC, RTS_BGP ] then accept; reject; };`,
    '  };',
    '}',
    `protocol static own${number} {`,
    `  ${channel(family)};`,
    ...ofFamily(plan.ownRanges, family).map((range) => `  route ${range} unreachable;`),
    '}',
    // The addresses of load balancers, which no route of the kernel's may hide: a Service's address may be on a link.
    `protocol static lb${number} {`,
    `  ${channel(family)} { preference 250; };`,
    ...ofFamily(plan.balancerRanges, family).map((range) => `  route ${range} blackhole;`),
    '}',
  ];
}

function sessionProtocol(plan: BgpPlan, session: BgpSession): string[] {
  if (!/^[a-z0-9.:-]{1,60}$/.test(session.name)) throw new RangeError(`'${session.name}' cannot name a session`);
  const { password } = session;
  if (password !== undefined && !isPassword(password))
    throw new RangeError(`${session.name}: a password cannot be written`);
  const family = familyOf(session.neighbor);
  const { holdTime = plan.holdTime } = session;
  const port = session.port === undefined ? '' : ` port ${session.port}`;
  const own = `proto = "own${digit(family)}"`;
  const pods = within(ofFamily(plan.podRanges, family));
  // A path is empty where the route comes from a node of the cluster's own AS.
  const others = `(source = RTS_BGP && bgp_path.len = 0 && ${all(pods)})`;
  return [
    `protocol bgp '${session.name}' {`,
    `  local ${session.local} as ${session.localAs ?? plan.asNumber};`,
    `  neighbor ${session.neighbor}${port} as ${session.neighborAs};`,
    ...(session.multihop === undefined ? [] : [`  multihop ${session.multihop};`]),
    // Told on the control connection alone: the log file leaves out this class.
    '  debug { states };',
    `  hold time ${holdTime};`,
    `  keepalive time ${session.keepaliveTime ?? Math.max(1, Math.floor(holdTime / 3))};`,
    '  connect delay time 1;',
    '  connect retry time 3;',
    '  error wait time 1, 10;',
    '  graceful restart on;',
    `  graceful restart time ${plan.restartTime};`,
    ...(session.bfd === undefined ? [] : [bfdOptions(session.bfd)]),
    ...(password === undefined ? [] : [`  password "${password}";`]),
    ...(session.reflectAs === undefined ? [] : ['  rr client;', `  rr cluster id ${session.reflectAs};`]),
    `  ${channel(family)} {`,
    `    import where ${importCondition(plan, session, family)};`,
    ...exportRules(session, family, session.advertise === 'own' ? own : `${own} || ${others}`),
    '  };',
    '}',
  ];
}

/** When the way is gone the session ends at once, and its routes with it: no graceful restart is waited for. */
function bfdOptions({ receiveInterval, transmitInterval, detectMultiplier, passive = false }: NodeBfd): string {
  const numbers = [receiveInterval, transmitInterval, detectMultiplier];
  if (!numbers.every(Number.isInteger)) throw new RangeError(`${numbers.join(', ')} are no times for BFD`);
  const intervals = `min rx interval ${receiveInterval} ms; min tx interval ${transmitInterval} ms;`;
  return `  bfd { ${intervals} multiplier ${detectMultiplier}; passive ${passive ? 'on' : 'off'}; };`;
}

/** `pods` is the condition for routes to pods. */
function exportRules(session: BgpSession, family: Family, pods: string): string[] {
  if (session.balancers.length === 0)
    return [`    export where ${session.advertise === 'balancers' ? 'false' : pods};`];
  return [
    '    export filter {',
    `      if proto = "lb${digit(family)}" then {`,
    ...session.balancers.map(
      ({ ranges, localPref, communities }) =>
        `        if ${exactly(ranges)} then { ${[
          ...(localPref === undefined ? [] : [`bgp_local_pref = ${localPref};`]),
          ...communities.map(addCommunity),
          'accept;',
        ].join(' ')} }`,
    ),
    '        reject;',
    '      }',
    `      if ${session.advertise === 'balancers' ? 'false' : pods} then accept;`,
    '      reject;',
    '    };',
  ];
}

function addCommunity(text: string): string {
  const numbers = text.replace('large:', '').split(':').map(Number);
  if (!numbers.every(Number.isInteger)) throw new RangeError(`'${text}' is no community`);
  return `bgp_${text.startsWith('large:') ? 'large_community' : 'community'}.add((${numbers.join(', ')}));`;
}

/** Loopback, link-local and multicast addresses are nobody's to announce. */
const neverRouted: Record<Family, string> = {
  IPv4: 'net ~ [ 0.0.0.0/8{8,32}, 127.0.0.0/8+, 169.254.0.0/16+, 224.0.0.0/3+ ]',
  IPv6: 'net ~ [ ::1/128, fe80::/10+, ff00::/8+ ]',
};

function importCondition(plan: BgpPlan, session: BgpSession, family: Family): string {
  const own = not(within(ofFamily(plan.ownRanges, family)));
  const pods = not(within(ofFamily(plan.podRanges, family)));
  const outside = within(session.acceptOutside);
  const choices = [
    exactly(session.acceptExactly),
    within(session.acceptWithin),
    outside === undefined ? undefined : `(${all(outside, pods)})`,
  ].filter((one) => one !== undefined);
  if (choices.length === 0) return 'false';
  return all(`(${choices.join(' || ')})`, own, `!(${neverRouted[family]})`);
}
