// Certificates of test servers, by the project's own authority.
import { createCa, issue } from '../../src/pki/pki.ts';

/** A certificate for a host name, and the authority that vouches for it; all in PEM. */
export async function certificateFor(name: string): Promise<{ cert: string; key: string; ca: string }> {
  const authority = await createCa('test');
  const issued = await issue(authority, { commonName: name, usages: ['server'], dnsNames: [name] });
  return { ...issued, ca: authority.cert };
}
