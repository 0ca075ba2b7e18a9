// What a user chooses about the way of Services into the kernel. Pure.
import { type ProxyMode, proxyModes } from '../k8s/network-config.ts';
import { SettingsError } from './settings-error.ts';

/** The mode of that name. Throws a SettingsError where there is none. */
export function checkProxyMode(value: unknown): ProxyMode {
  const mode = proxyModes.find((one) => one === value);
  if (mode === undefined) throw new SettingsError(`--proxy-mode '${String(value)}': there is ${proxyModes.join(', ')}`);
  return mode;
}
