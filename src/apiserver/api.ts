// What the parts of the server share: the state they work on, and one call being answered.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Log } from '../log/log.ts';
import type { ServiceAddresses } from './admission/service-addresses.ts';
import type { User } from './auth/authenticate.ts';
import type { PolicySource } from './auth/authorize.ts';
import type { Form } from './negotiate.ts';
import type { Registry } from './registry.ts';
import type { ResourceRequest } from './request.ts';
import type { Storage } from './storage.ts';

export interface Api {
  readonly storage: Storage;
  readonly registry: Registry;
  readonly addresses: ServiceAddresses;
  readonly policy: PolicySource;
  readonly log: Log;
  /** The clock; tests put their own here. */
  readonly now: () => Date;
}

/** One request for a resource: who asks for what, and in which form the answer is wanted. */
export interface Call {
  readonly info: ResourceRequest;
  readonly query: URLSearchParams;
  readonly user: User;
  readonly form: Form;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** A time as the API writes it: whole seconds, UTC. */
export const timestamp = (time: Date): string => `${time.toISOString().slice(0, 19)}Z`;
