// The Job controller: runs pods until enough have succeeded or too many have failed; removes Jobs whose time is over.
import { isDeepStrictEqual } from 'node:util';
import { isNotFound } from '../../k8s/client.ts';
import { conditionOf } from '../../k8s/conditions.ts';
import { keyOf, type Stored } from '../../k8s/object.ts';
import { controllerOf } from '../../k8s/pod.ts';
import { jobs, pods } from '../../k8s/resources.ts';
import type { Container, Job, JobStatus, Pod } from '../../k8s/types.generated.ts';
import type { ControllerContext } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import { controllerKey, createOwnedPods, podFromTemplate } from '../owned-pods.ts';
import { decideJob, indexAnnotation, isFinished } from './decide.ts';

export function runJobs(context: ControllerContext): Controller {
  const { client } = context;
  const [cache, podCache] = [context.cache(jobs), context.cache(pods)];
  const recorder = context.recorder('job-controller');
  const owned = createOwnedPods(context, recorder);
  /** By the Job's uid: pods that had ended and are gone. */
  const past = new Map<string, { succeeded: number; failed: number }>();

  const tell = (job: Stored<Job>, status: JobStatus): void => {
    const became = (type: string, is: string) => {
      const now = conditionOf(status.conditions, type);
      return now?.status === is && conditionOf(job.status?.conditions, type)?.status !== is ? now : undefined;
    };
    if (became('Complete', 'True')) recorder.event(job, 'Normal', 'Completed', 'Job completed');
    if (became('Suspended', 'True')) recorder.event(job, 'Normal', 'Suspended', 'Job suspended');
    if (became('Suspended', 'False')) recorder.event(job, 'Normal', 'Resumed', 'Job resumed');
    const failed = became('Failed', 'True');
    if (failed) recorder.event(job, 'Warning', failed.reason ?? 'Failed', failed.message ?? '');
  };

  return runController(context, {
    name: 'job',
    needs: [cache, podCache],
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type !== 'deleted') return queue.add(keyOf(object));
        owned.forget(object.metadata.uid);
        past.delete(object.metadata.uid);
        return undefined;
      });
      podCache.subscribe(({ type, object }) => {
        const key = controllerKey(object, 'Job');
        if (key === undefined) return;
        const phase = object.status?.phase;
        const uid = controllerOf(object)?.uid ?? '';
        if (type === 'deleted' && (phase === 'Succeeded' || phase === 'Failed')) {
          const before = past.get(uid) ?? { succeeded: 0, failed: 0 };
          past.set(uid, {
            succeeded: before.succeeded + (phase === 'Succeeded' ? 1 : 0),
            failed: before.failed + (phase === 'Failed' ? 1 : 0),
          });
        }
        queue.add(key);
      });
    },
    async reconcile(key, again) {
      const job = cache.get(key);
      if (job === undefined || job.metadata.deletionTimestamp !== undefined) return;
      if (isFinished(job)) return removeWhenDue(job, again);
      // Without a selector none of its pods could be told from others: the API server gives every Job one.
      if (job.spec.selector === undefined) throw new Error(`Job ${keyOf(job)} has no selector`);
      const counted = past.get(job.metadata.uid) ?? { succeeded: 0, failed: 0 };
      const before = decideJob({ job, pods: await owned.of(job), past: counted, now: context.now() });
      if (before.again !== undefined) again(before.again);
      await Promise.all([
        owned.create(
          job,
          before.create.map((index) => jobPod(job, index)),
        ),
        owned.delete(job, before.remove),
      ]);
      const { status } = decideJob({ job, pods: await owned.of(job), past: counted, now: context.now() });
      if (isDeepStrictEqual(status, job.status)) return undefined;
      await client.update(jobs, { ...job, status }, 'status');
      tell(job, status);
      return undefined;
    },
  });

  /** ttlSecondsAfterFinished: the Job goes, and its pods with it. */
  async function removeWhenDue(job: Stored<Job>, again: (ms: number) => void): Promise<void> {
    const { ttlSecondsAfterFinished: ttl } = job.spec;
    if (ttl === undefined) return;
    const conditions = job.status?.conditions;
    const finished = conditionOf(conditions, 'Complete') ?? conditionOf(conditions, 'Failed');
    const left = Date.parse(finished?.lastTransitionTime ?? '') + ttl * 1000 - context.now();
    if (left > 0) return again(left);
    try {
      await client.delete(jobs, job.metadata, {
        propagationPolicy: 'Foreground',
        preconditions: { uid: job.metadata.uid },
      });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}

/** A pod of the Job; for an Indexed one with its index as name, annotation, label, hostname and environment. */
function jobPod(job: Stored<Job>, index: number | undefined): Pod {
  const pod = podFromTemplate(job, job.spec.template);
  if (index === undefined) return pod;
  const { name } = job.metadata;
  pod.metadata.generateName = `${name.slice(0, 50)}-${index}-`;
  pod.metadata.annotations = { ...pod.metadata.annotations, [indexAnnotation]: String(index) };
  pod.metadata.labels = { ...pod.metadata.labels, [indexAnnotation]: String(index) };
  const withIndex = (container: Container): Container => {
    if (container.env?.some((each) => each.name === 'JOB_COMPLETION_INDEX')) return container;
    const fieldRef = { fieldPath: `metadata.labels['${indexAnnotation}']` };
    return { ...container, env: [...(container.env ?? []), { name: 'JOB_COMPLETION_INDEX', valueFrom: { fieldRef } }] };
  };
  const { containers = [], initContainers, ...spec } = pod.spec ?? {};
  pod.spec = {
    ...spec,
    hostname: `${name}-${index}`,
    containers: containers.map(withIndex),
    ...(initContainers !== undefined && { initContainers: initContainers.map(withIndex) }),
  };
  return pod;
}
