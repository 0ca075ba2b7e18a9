// Images: present on the node, or pulled by the rules of imagePullPolicy, with back-off and with events that name the
// reason. Rules: kubernetes pkg/kubelet/images/image_manager.go.
import type { Container, Pod, Secret } from '../../k8s/types.generated.ts';
import { type Cri, isConnectionLost, isLeftover, isUnavailable, RuntimeError } from '../cri/client.ts';
import type { Message } from '../cri/protocol.ts';
import { type BackOff, type BackOffOptions, createBackOff } from '../pod/back-off.ts';
import { credentialsFor } from './credentials.ts';

export type ImageReason =
  | 'ErrImagePull'
  | 'ImagePullBackOff'
  | 'ErrImageNeverPull'
  | 'InvalidImageName'
  | 'ImageInspectError';

/** The image cannot be had now. `retryMs` says when it is worth to try again. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly reason: ImageReason;
  readonly retryMs: number | undefined;

  constructor(reason: ImageReason, message: string, retryMs?: number) {
    super(message);
    this.reason = reason;
    this.retryMs = retryMs;
  }
}

export type ImageEvent = (type: 'Normal' | 'Warning', reason: string, message: string) => void;

export interface Images {
  /** The image of a container, pulled where that is needed. Throws an ImageError, or an error that {@link isUnavailable}. */
  ensure(
    pod: Pod,
    container: Container,
    secrets: readonly Secret[],
    record: ImageEvent,
    signal: AbortSignal,
  ): Promise<Message<'Image'>>;
  /** Pulls an image that is not there, with nobody's credentials. Rejects with the runtime's error. */
  prefetch(image: string): Promise<void>;
}

const pullTimeoutMs = 30 * 60 * 1000;

export function createImages(cri: Cri, backOffOptions: BackOffOptions): Images {
  const backOff = createBackOff(backOffOptions);
  const failures = new Map<string, { at: number; message: string }>();
  const pulling = new Map<string, Promise<unknown>>();

  const lookUp = async (image: string): Promise<Message<'Image'> | undefined> => {
    const { image: found } = await cri.call('ImageStatus', { image: { image } });
    return found ?? undefined;
  };

  const pull = async (image: string, secrets: readonly Secret[]): Promise<void> => {
    const credentials = credentialsFor(image, secrets);
    const attempts = credentials.length === 0 ? [undefined] : credentials;
    let last: unknown;
    for (const auth of attempts) {
      try {
        await cri.call('PullImage', { image: { image }, auth }, { timeoutMs: pullTimeoutMs });
        return;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  };

  /** Pulls of one image with the same credentials are one pull. */
  const pullOnce = (image: string, secrets: readonly Secret[]): Promise<unknown> => {
    const key = `${image} ${secrets.map(({ metadata }) => `${metadata.uid}@${metadata.resourceVersion}`).join()}`;
    const running = pulling.get(key);
    if (running !== undefined) return running;
    const started = pull(image, secrets).finally(() => pulling.delete(key));
    pulling.set(key, started);
    return started;
  };

  return {
    async prefetch(image) {
      if ((await lookUp(image)) === undefined) await pullOnce(image, []);
    },

    async ensure(pod, container, secrets, record, signal) {
      const image = withTag(container.image ?? '');
      const policy = container.imagePullPolicy ?? 'IfNotPresent';
      const present = await lookUp(image).catch((error: unknown) => {
        throw isUnavailable(error) ? error : inspectError(image, error);
      });
      if (present !== undefined && policy !== 'Always') {
        record('Normal', 'Pulled', `Container image "${container.image}" already present on machine`);
        return present;
      }
      if (policy === 'Never') {
        const message = `Container image "${container.image}" is not present with pull policy of Never`;
        record('Warning', 'ErrImageNeverPull', message);
        throw new ImageError('ErrImageNeverPull', message);
      }
      const key = `${pod.metadata.uid} ${image}`;
      checkBackOff(backOff, key, failures.get(key), container, record);
      record('Normal', 'Pulling', `Pulling image "${container.image}"`);
      const began = Date.now();
      try {
        await orAborted(pullOnce(image, secrets), signal);
      } catch (error) {
        signal.throwIfAborted();
        if (isConnectionLost(error) || isLeftover(error)) throw error;
        const now = Date.now();
        const message = error instanceof Error ? error.message : String(error);
        record('Warning', 'Failed', `Failed to pull image "${container.image}": ${message}`);
        backOff.next(key, now, now);
        failures.set(key, { at: now, message });
        throw new ImageError('ErrImagePull', message, backOff.remaining(key, now, now));
      }
      failures.delete(key);
      backOff.reset(key);
      const pulled = await lookUp(image);
      if (pulled === undefined) throw new ImageError('ErrImagePull', `the pulled image ${image} is not there`, 1000);
      const took = formatSeconds(Date.now() - began);
      record(
        'Normal',
        'Pulled',
        `Successfully pulled image "${container.image}" in ${took} (${took} including waiting). Image size: ${pulled.size} bytes.`,
      );
      return pulled;
    },
  };
}

/** The promise, or a rejection as soon as the signal is aborted: the pull itself goes on, others may wait for it. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function checkBackOff(
  backOff: BackOff,
  key: string,
  failure: { at: number; message: string } | undefined,
  container: Container,
  record: ImageEvent,
): void {
  if (failure === undefined) return;
  const rest = backOff.remaining(key, failure.at, Date.now());
  if (rest === 0) return;
  const message = `Back-off pulling image "${container.image}"`;
  record('Normal', 'BackOff', message);
  throw new ImageError('ImagePullBackOff', `${message}: ErrImagePull: ${failure.message}`, rest);
}

function inspectError(image: string, error: unknown): ImageError {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof RuntimeError && /invalid reference|parse/.test(message))
    return new ImageError(
      'InvalidImageName',
      `Failed to apply default image tag "${image}": couldn't parse image name: ${message}`,
    );
  return new ImageError('ImageInspectError', `Failed to inspect image "${image}": ${message}`, 10_000);
}

/** The name with `:latest` where it has neither a tag nor a digest. */
export function withTag(image: string): string {
  const last = image.slice(image.lastIndexOf('/') + 1);
  return last.includes(':') || last.includes('@') ? image : `${image}:latest`;
}

function formatSeconds(ms: number): string {
  return ms < 1000 ? `${ms}ms` : `${(ms / 1000).toFixed(3)}s`;
}
