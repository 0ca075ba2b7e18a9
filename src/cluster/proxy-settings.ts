// What a user chooses about the way of Services into the kernel. Pure.
import {
  defaultIpvsScheduler,
  defaultProxyMode,
  type IpvsScheduler,
  ipvsSchedulers,
  type ProxyMode,
  proxyModes,
} from '../k8s/network-config.ts';
import { SettingsError } from './settings-error.ts';

/** How Services are written into the kernel. */
export interface ProxySettings {
  /** The mode of the first `up`, or that of the last `weft proxy mode`. */
  readonly proxyMode: ProxyMode;
  /** In the mode ipvs: how one of several endpoints is chosen. */
  readonly ipvsScheduler: IpvsScheduler;
}

/** As a user writes them, or as they were stored. */
export interface GivenProxySettings {
  readonly proxyMode?: unknown;
  readonly ipvsScheduler?: unknown;
}

/**
 * The settings with defaults filled in. Throws a SettingsError for the first that cannot be; `what` is how the user gave
 * the mode: by an option, or as an argument.
 */
export function decideProxySettings(given: GivenProxySettings, what = '--proxy-mode'): ProxySettings {
  const proxyMode = checkProxyMode(given.proxyMode ?? defaultProxyMode, what);
  const ipvsScheduler = checkIpvsScheduler(given.ipvsScheduler ?? defaultIpvsScheduler);
  if (proxyMode !== 'ipvs' && ipvsScheduler !== defaultIpvsScheduler)
    throw new SettingsError(`--ipvs-scheduler is an option of the proxy mode ipvs, not of ${proxyMode}`);
  return { proxyMode, ipvsScheduler };
}

function checkIpvsScheduler(value: unknown): IpvsScheduler {
  const scheduler = ipvsSchedulers.find((one) => one === value);
  if (scheduler !== undefined) return scheduler;
  throw new SettingsError(`--ipvs-scheduler '${String(value)}': there is ${ipvsSchedulers.join(', ')}`);
}

/** The mode of that name. Throws a SettingsError where there is none. */
function checkProxyMode(value: unknown, what: string): ProxyMode {
  const mode = proxyModes.find((one) => one === value);
  if (mode === undefined) throw new SettingsError(`${what} '${String(value)}': there is ${proxyModes.join(', ')}`);
  return mode;
}
