// Tables: what `kubectl get` prints, made by the server (meta.k8s.io Table).
import type { Kind } from '../kinds.ts';
import type { ApiObject } from '../object.ts';
import { clusterPrinters } from './cluster.ts';
import type { Cell, Column } from './columns.ts';
import { customPrinter, plainPrinter } from './custom.ts';
import { networkPrinters } from './network.ts';
import { podPrinters } from './pods.ts';
import { workloadPrinters } from './workloads.ts';

/** How a kind is printed. `now` is the time in milliseconds from which ages are counted. */
export interface Printer {
  readonly columns: readonly Column[];
  readonly cells: (object: ApiObject, now: number) => Cell[];
}

const printers: Readonly<Record<string, Printer>> = {
  ...podPrinters,
  ...workloadPrinters,
  ...networkPrinters,
  ...clusterPrinters,
};

function printerOf(kind: Kind): Printer {
  if (kind.custom !== undefined) return customPrinter(kind.custom.columns);
  return printers[kind.storage] ?? plainPrinter;
}

export interface TableOptions {
  readonly version: string;
  /** None, Metadata (where null) or Object: what of the object goes with its row. */
  readonly includeObject: string | null;
  readonly resourceVersion: string;
  readonly metadata?: object;
  /** Later events of a watch do not repeat the columns. */
  readonly withoutColumns?: boolean;
  /** How the objects are printed, where they are not those of the kind itself. */
  readonly printer?: Printer;
}

export function tableOf(kind: Kind, objects: readonly ApiObject[], options: TableOptions): unknown {
  const printer = options.printer ?? printerOf(kind);
  const now = Date.now();
  return {
    kind: 'Table',
    apiVersion: `meta.k8s.io/${options.version}`,
    metadata: options.metadata ?? { resourceVersion: options.resourceVersion },
    columnDefinitions: options.withoutColumns === true ? null : printer.columns,
    rows: objects.map((object) => {
      // The printers see events as they are stored; each row shows the view that was asked for.
      const seen = kind.view === undefined ? object : kind.view.write(object);
      return { cells: printer.cells(seen, now), ...included(object, options) };
    }),
  };
}

function included(object: ApiObject, { includeObject, version }: TableOptions): { object?: unknown } {
  if (includeObject === 'None') return {};
  if (includeObject === 'Object') return { object };
  return {
    object: { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${version}`, metadata: object.metadata },
  };
}
